"""``levimesh audit``: what was done, and whether its record is whole."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from levimesh.auth.v1 import audit_pb2
from levimesh.auth.v1 import audit_service_pb2 as pb
from services.runtime import timestamps
from tests.edge import Edge
from tests.unit.cli.conftest import Levimesh, complaint

NOON = timestamps.to_pb(datetime(2024, 8, 8, 12, tzinfo=UTC))
INTACT = pb.VerifyAuditChainResponse(intact=True, checked=1_204, head_hash="ab" * 32, anchor_time=NOON)
BROKEN = pb.VerifyAuditChainResponse(checked=1_204, broken_at=17, problem="missing: event 17 is not there")


def an_event(sequence: int, **more: Any) -> audit_pb2.AuditEvent:
    said: dict[str, Any] = {
        "sequence": sequence,
        "event_time": NOON,
        "action": "/levimesh.trading.v1.TradingService/SubmitOrder",
        "actor": "ann",
        "address": "203.0.113.9",
        "outcome": audit_pb2.AUDIT_OUTCOME_DONE,
        "status": "OK",
        "subject": {"symbol": "BTC-USDT@simex", "client_order_id": "mine-1"},
    }
    return audit_pb2.AuditEvent(**{**said, **more})


def test_events_are_listed_with_the_newest_at_the_end(edge: Edge, levimesh: Levimesh) -> None:
    refused = an_event(
        2, actor="bob", outcome=audit_pb2.AUDIT_OUTCOME_DENIED, status="PERMISSION_DENIED ERROR_REASON_ROLE_NOT_ALLOWED"
    )
    edge.answers["ListAuditEvents"] = lambda _: pb.ListAuditEventsResponse(events=[refused, an_event(1)])

    result = levimesh("audit", "list")

    first, second = result.stdout.splitlines()[-2:]
    assert first.split() == [
        *("1", "2024-08-08", "12:00:00", "done", "ann", "SubmitOrder"),
        *("client_order_id=mine-1,", "symbol=BTC-USDT@simex", "203.0.113.9"),
    ]
    assert "denied" in second
    assert "PERMISSION_DENIED ROLE_NOT_ALLOWED" in second


def test_filters_reach_the_mesh(edge: Edge, levimesh: Levimesh) -> None:
    asked: list[pb.ListAuditEventsRequest] = []

    def answer(request: pb.ListAuditEventsRequest) -> pb.ListAuditEventsResponse:
        asked.append(request)
        return pb.ListAuditEventsResponse()

    edge.answers["ListAuditEvents"] = answer
    filters = [
        "--actor",
        "ann",
        "--action",
        "login_locked",
        "--outcome",
        "failed",
        "--since",
        "2024-08-08T12:00",
        "--limit",
        "5",
    ]

    assert levimesh("audit", "list", *filters).exit_code == 0

    wanted = pb.ListAuditEventsRequest(
        page_size=5, actor="ann", action="login_locked", outcome=audit_pb2.AUDIT_OUTCOME_FAILED, start_time=NOON
    )
    assert asked == [wanted]


def test_a_time_that_is_none_is_explained(levimesh: Levimesh) -> None:
    result = levimesh("audit", "list", "--until", "yesterday")

    assert result.exit_code == 2
    assert "'yesterday' is not a time such as" in complaint(result)


def test_an_intact_chain_is_told_with_its_anchor(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["VerifyAuditChain"] = lambda _: INTACT

    result = levimesh("audit", "verify")

    assert result.exit_code == 0
    assert "the audit chain is intact: 1204 events" in result.stdout
    assert "2024-08-08 12:00:00" in result.stdout


def test_a_chain_that_is_anchored_nowhere_is_told_so(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["VerifyAuditChain"] = lambda _: pb.VerifyAuditChainResponse(intact=True)

    assert "nowhere outside the database" in levimesh("audit", "verify").stdout


def test_a_broken_chain_ends_with_status_1_and_says_where(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["VerifyAuditChain"] = lambda _: BROKEN

    result = levimesh("audit", "verify")

    assert result.exit_code == 1
    assert "broken at event 17: missing: event 17 is not there" in result.stderr


@pytest.mark.parametrize(("answer", "status"), [(INTACT, 0), (BROKEN, 1)])
def test_the_status_tells_with_json_too(
    edge: Edge, levimesh: Levimesh, answer: pb.VerifyAuditChainResponse, status: int
) -> None:
    edge.answers["VerifyAuditChain"] = lambda _: answer

    result = levimesh("audit", "verify", "--json")

    assert result.exit_code == status
    assert json.loads(result.stdout)["intact"] is (status == 0)
