"""The audit chain in PostgreSQL: everybody appends to it, nobody changes it unnoticed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from levimesh.auth.v1 import audit_pb2, auth_service_pb2
from levimesh.auth.v1 import audit_service_pb2 as pb
from levimesh.auth.v1 import audit_service_pb2_grpc as pb_grpc
from services.auth.adapters.audit import SqlAuditChain
from services.auth.auditing import Auditing, build_auditing
from services.auth.domain.audit import NO_HASH, AuditEvent, Outcome, link_hash
from services.runtime import timestamps
from services.runtime.audit_outbox import open_audit_log
from services.runtime.clock import utc_now
from services.runtime.database import open_database
from services.runtime.pagination import encode_page_token
from services.stack.postgres import Cluster
from tests.auth import ADMIN, ADMIN_PASSWORD, auth_settings, running_auth
from tests.mesh import Served, a_token, bearing, error_info, serving

SERVICE = pb.DESCRIPTOR.services_by_name["AuditService"]
ADMIN_TOKEN = bearing(a_token("ROLE_ADMIN"))
NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)
LENGTH = 10


def an_event(number: int = 0, **fields: Any) -> audit_pb2.AuditEvent:
    said: dict[str, Any] = {
        "event_id": str(uuid4()),
        "event_time": timestamps.to_pb(NOON + timedelta(seconds=number)),
        "action": "/levimesh.trading.v1.TradingService/SubmitOrder",
        "actor": "ann",
        "session_id": "s-1",
        "address": "203.0.113.9",
        "outcome": audit_pb2.AUDIT_OUTCOME_DONE,
        "status": "OK",
        "subject": {"client_order_id": f"order-{number}", "symbol": "BTC-USDT@simex"},
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }
    return audit_pb2.AuditEvent(**{**said, **fields})


@pytest.fixture
def url(database_url: Callable[[str], str]) -> str:
    return database_url("auth")


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    async with open_database(SecretStr(url)) as engine:
        yield engine


@pytest.fixture
def anchor_file(tmp_path: Path) -> Path:
    return tmp_path / "anchors.jsonl"


@pytest.fixture
def auditing(url: str, engine: AsyncEngine, anchor_file: Path) -> Auditing:
    return build_auditing(auth_settings(url, audit_anchor_file=anchor_file), engine, utc_now)


@pytest.fixture
async def served(auditing: Auditing, certificates: Path) -> AsyncIterator[Served]:
    async with serving({SERVICE: auditing.servicer}, certificates, workload="auth") as served:
        yield served


def stub_of(served: Served, workload: str = "gateway") -> Any:
    return pb_grpc.AuditServiceStub(served.channel(SERVICE, workload))


@pytest.fixture
def stub(served: Served) -> Any:
    return stub_of(served)


async def append(served: Served, *events: audit_pb2.AuditEvent, workload: str = "trading") -> None:
    await stub_of(served, workload).AppendAuditEvents(pb.AppendAuditEventsRequest(events=events))


async def listed(stub: Any, **request: Any) -> Sequence[audit_pb2.AuditEvent]:
    response = await stub.ListAuditEvents(pb.ListAuditEventsRequest(**request), metadata=ADMIN_TOKEN)
    events: Sequence[audit_pb2.AuditEvent] = response.events
    return events


async def verified(stub: Any) -> pb.VerifyAuditChainResponse:
    response: pb.VerifyAuditChainResponse = await stub.VerifyAuditChain(
        pb.VerifyAuditChainRequest(), metadata=ADMIN_TOKEN
    )
    return response


async def anchor(auditing: Auditing) -> None:
    """Do what is done every minute: it anchors at once, and once more when it is stopped."""
    task = asyncio.ensure_future(auditing.background["audit anchors"]())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_services_append_at_once_makes_one_chain_without_a_gap(served: Served, stub: Any) -> None:
    workloads = ("marketdata", "prediction", "trading")
    batches = [
        [an_event(actor=f"{workload} {batch}") for _ in range(7)] for workload in workloads for batch in range(12)
    ]

    await asyncio.gather(
        *(append(served, *batch, workload=batch[0].actor.split()[0]) for batch in batches),
    )

    events = await listed(stub, page_size=1000)
    assert [event.sequence for event in reversed(events)] == list(range(1, 3 * 12 * 7 + 1))
    assert {event.event_id for event in events} == {event.event_id for batch in batches for event in batch}
    assert all(event.service == event.actor.split()[0] for event in events)
    found = await verified(stub)
    assert (found.intact, found.checked, found.head_hash) == (True, 3 * 12 * 7, events[0].hash)


async def test_a_service_speaks_only_for_itself(served: Served, stub: Any) -> None:
    await append(served, an_event(service="auth", sequence=77, hash="00" * 32), workload="prediction")

    (event,) = await listed(stub)
    assert (event.service, event.sequence) == ("prediction", 1)
    assert event.hash != "00" * 32


async def test_an_event_that_is_in_the_chain_is_left_out(served: Served, stub: Any) -> None:
    known, new = an_event(), an_event()
    await append(served, known)

    await append(served, known, new, new)

    assert [event.event_id for event in await listed(stub)] == [new.event_id, known.event_id]


async def test_an_event_comes_back_as_it_was_recorded(served: Served, stub: Any) -> None:
    event = an_event(subject={"username": 'ü "quoted" \N{PILE OF POO}', "order_id": ""})
    await append(served, event)

    (found,) = await listed(stub)

    event.sequence, event.hash, event.service = 1, found.hash, "trading"
    assert found == event


@pytest.mark.parametrize("workload", ["gateway", "auth", "stranger", "stack"])
async def test_nobody_else_may_append(served: Served, workload: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await append(served, an_event(), workload=workload)

    assert refused.value.code() in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE auth.audit_events SET actor = 'bob'",
        "DELETE FROM auth.audit_events WHERE sequence = 1",
        "TRUNCATE auth.audit_events",
        "SET session_replication_role = replica",
    ],
)
async def test_the_role_of_auth_cannot_change_what_is_in_the_chain(
    served: Served, stub: Any, engine: AsyncEngine, statement: str
) -> None:
    await append(served, an_event(), an_event())

    with pytest.raises(DBAPIError, match=r"only ever appended to|permission denied"):
        async with engine.begin() as connection:
            await connection.execute(text(statement))

    assert (await verified(stub)).intact


async def tamper(postgres: Cluster, url: str, *statements: str) -> None:
    """What the owner of the database can do: put the triggers aside, and change anything."""
    connection = await postgres.connect(url.rsplit("/", 1)[1])
    try:
        await connection.execute("ALTER TABLE auth.audit_events DISABLE TRIGGER ALL")
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


FLIPS = {
    "sequence": ("sequence = 99", "missing"),
    "event_id": ("event_id = gen_random_uuid()", "changed"),
    "event_time": ("event_time = event_time + interval '1 microsecond'", "changed"),
    "service": ("service = 'auth'", "changed"),
    "action": ("action = action || ' '", "changed"),
    "actor": ("actor = 'bob'", "changed"),
    "session_id": ("session_id = ''", "changed"),
    "address": ("address = '203.0.113.10'", "changed"),
    "outcome": ("outcome = 'nonsense'", "changed"),
    "status": ("status = 'INTERNAL'", "changed"),
    "subject": ("subject = subject - 'symbol'", "changed"),
    "trace_id": ("trace_id = ''", "changed"),
    "hash": ("hash = set_bit(hash, 0, 1 - get_bit(hash, 0))", "changed"),
}


@pytest.mark.parametrize("column", FLIPS)
async def test_a_flipped_value_is_found_in_its_row(
    served: Served, stub: Any, postgres: Cluster, url: str, column: str
) -> None:
    await append(served, *(an_event(number) for number in range(LENGTH)))
    change, problem = FLIPS[column]

    await tamper(postgres, url, f"UPDATE auth.audit_events SET {change} WHERE sequence = 4")  # noqa: S608 - our own text

    found = await verified(stub)
    assert (found.intact, found.broken_at) == (False, 4)
    assert found.problem.startswith(problem)


@pytest.mark.parametrize(
    "change",
    [*(f"{column} = NULL" for column in FLIPS if column != "sequence"), "event_time = 'infinity'", "subject = '7'"],
)
async def test_a_value_that_cannot_be_is_found_in_its_row(
    served: Served, stub: Any, postgres: Cluster, url: str, change: str
) -> None:
    await append(served, *(an_event(number) for number in range(LENGTH)))
    column = change.split()[0]

    await tamper(
        postgres,
        url,
        f"ALTER TABLE auth.audit_events ALTER COLUMN {column} DROP NOT NULL",
        f"UPDATE auth.audit_events SET {change} WHERE sequence = 4",  # noqa: S608 - our own text
    )

    found = await verified(stub)
    assert (found.intact, found.broken_at) == (False, 4)


async def test_every_column_is_among_those_that_are_flipped(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        columns = await connection.scalars(
            text("SELECT column_name FROM information_schema.columns WHERE table_name = 'audit_events'")
        )
        assert set(columns) == set(FLIPS)


SHIFT = "UPDATE auth.audit_events SET sequence = -sequence - 1 WHERE sequence >= 5"
SHIFT_BACK = "UPDATE auth.audit_events SET sequence = -sequence WHERE sequence < 0"
FORGED = """
INSERT INTO auth.audit_events
SELECT 5, gen_random_uuid(), event_time, service, action, 'mallory', session_id, address, outcome, status, subject,
       trace_id, sha256(hash)
FROM auth.audit_events WHERE sequence = 4
"""


@pytest.mark.parametrize(
    ("statements", "broken_at", "problem"),
    [
        pytest.param(["DELETE FROM auth.audit_events WHERE sequence = 4"], 4, "missing: event 4", id="middle deleted"),
        pytest.param(["DELETE FROM auth.audit_events WHERE sequence = 1"], 1, "missing: event 1", id="first deleted"),
        pytest.param(["DELETE FROM auth.audit_events WHERE sequence > 6"], 7, "truncated", id="end deleted"),
        pytest.param(["TRUNCATE auth.audit_events"], 1, "truncated", id="all deleted"),
        pytest.param(
            [
                "ALTER TABLE auth.audit_events DROP CONSTRAINT audit_events_pkey",
                "UPDATE auth.audit_events SET sequence = 13 - sequence WHERE sequence IN (4, 9)",
            ],
            4,
            "out of order: the event that belongs at 4 stands at 9",
            id="two swapped",
        ),
        pytest.param(
            ["ALTER TABLE auth.audit_events DROP CONSTRAINT counts_from_one", SHIFT, SHIFT_BACK, FORGED],
            5,
            "out of order: the event that belongs at 5 stands at 6",
            id="one forged",
        ),
    ],
)
async def test_what_is_done_to_rows_is_found(
    served: Served,
    stub: Any,
    auditing: Auditing,
    postgres: Cluster,
    url: str,
    statements: Sequence[str],
    broken_at: int,
    problem: str,
) -> None:
    await append(served, *(an_event(number) for number in range(LENGTH)))
    await anchor(auditing)

    await tamper(postgres, url, *statements)

    found = await verified(stub)
    assert (found.intact, found.broken_at) == (False, broken_at)
    assert found.problem.startswith(problem)


async def test_an_end_that_was_written_anew_with_right_hashes_is_found_by_the_anchor(
    served: Served, stub: Any, auditing: Auditing, engine: AsyncEngine, postgres: Cluster, url: str
) -> None:
    await append(served, *(an_event(number) for number in range(LENGTH)))
    await anchor(auditing)

    await tamper(postgres, url, "DELETE FROM auth.audit_events WHERE sequence > 6")
    await append(served, *(an_event(number, actor="mallory") for number in range(LENGTH)))

    events = await listed(stub, page_size=1000)
    assert [event.sequence for event in reversed(events)] == list(range(1, 17)), "it looks like a good chain"
    found = await verified(stub)
    assert (found.intact, found.broken_at) == (False, LENGTH)
    assert found.problem.startswith("rewritten")


async def test_the_head_is_anchored_while_auth_runs_and_when_it_stops(
    served: Served, stub: Any, auditing: Auditing, anchor_file: Path
) -> None:
    await append(served, an_event())
    running = asyncio.ensure_future(auditing.background["audit anchors"]())
    async with asyncio.timeout(10):
        while not lines(anchor_file):  # noqa: ASYNC110 - what is waited for is a file
            await asyncio.sleep(0.01)
    await append(served, an_event())

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert lines(anchor_file) == 2
    found = await verified(stub)
    assert found.intact
    assert abs(timestamps.from_pb(found.anchor_time) - utc_now()) < timedelta(minutes=5)


def lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.exists() else 0


async def test_pages_follow_one_another_also_while_events_are_added(served: Served, stub: Any) -> None:
    await append(served, *(an_event(number) for number in range(7)))
    request, seen = pb.ListAuditEventsRequest(page_size=3), []
    while True:
        page = await stub.ListAuditEvents(request, metadata=ADMIN_TOKEN)
        seen += [event.sequence for event in page.events]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
        await append(served, an_event())

    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_a_page_token_is_good_for_its_filters_only(served: Served, stub: Any) -> None:
    await append(served, an_event(), an_event())
    request = pb.ListAuditEventsRequest(page_size=1)
    page = await stub.ListAuditEvents(request, metadata=ADMIN_TOKEN)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await listed(stub, actor="bob", page_token=page.next_page_token)

    assert error_info(refused.value).reason == "ERROR_REASON_PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("position", [[], ["1", "2"], ["one"], ["0"], ["-1"], ["٣"], ["9" * 19], ["9" * 300]])
async def test_a_page_token_that_was_not_given_out_is_refused(stub: Any, position: list[str]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await listed(stub, page_token=encode_page_token(position, pb.ListAuditEventsRequest()))

    assert error_info(refused.value).reason == "ERROR_REASON_PAGE_TOKEN_INVALID"


async def test_filters_choose_events(served: Served, stub: Any) -> None:
    await append(
        served,
        an_event(1),
        an_event(2, actor="bob"),
        an_event(3, action="login_locked"),
        an_event(4, outcome=audit_pb2.AUDIT_OUTCOME_DENIED),
    )
    after = {number: timestamps.to_pb(NOON + timedelta(seconds=number)) for number in (2, 4)}

    async def numbers(**wanted: Any) -> list[int]:
        return [event.sequence for event in await listed(stub, **wanted)]

    assert await numbers(actor="bob") == [2]
    assert await numbers(action="login_locked") == [3]
    assert await numbers(outcome=audit_pb2.AUDIT_OUTCOME_DENIED) == [4]
    assert await numbers(start_time=after[2], end_time=after[4]) == [3, 2]
    assert await numbers(start_time=after[2], actor="ann") == [4, 3]


async def test_a_long_chain_is_checked_to_its_end(stub: Any, engine: AsyncEngine) -> None:
    """It is read in parts; none of them is left out."""
    chain = SqlAuditChain(engine)
    events = [
        AuditEvent(str(uuid4()), NOON, "auth", "test", "", "", "", Outcome.DONE, "OK", {}, "") for _ in range(1_201)
    ]
    await chain.append(events)

    previous = NO_HASH
    for sequence, event in enumerate(events, 1):
        previous = link_hash(previous, sequence, event)
    found = await verified(stub)
    assert (found.intact, found.checked, found.head_hash) == (True, 1_201, previous.hex())


async def test_logins_are_in_the_chain_and_no_password_is_anywhere(
    url: str, engine: AsyncEngine, certificates: Path
) -> None:
    canary = "canary-password-5f2d"
    async with (
        open_audit_log(SecretStr(url), "auth") as log,
        running_auth(auth_settings(url), certificates, log=log) as running,
    ):
        await running.create_admin()
        token = await running.login()
        with pytest.raises(grpc.aio.AioRpcError):
            await running.as_workload("gateway").Login(
                auth_service_pb2.LoginRequest(username="nobody", password=canary, second_factor=canary)
            )
        async with engine.connect() as connection:
            stored = await connection.scalars(text("SELECT event FROM auth.audit_outbox"))
            assert not any(secret.encode() in event for event in stored for secret in (canary, ADMIN_PASSWORD))
        await log.relay_batch(running.auth.auditing.append_own)
        audit = pb_grpc.AuditServiceStub(running.served.channel(SERVICE))
        response = await audit.ListAuditEvents(pb.ListAuditEventsRequest(), metadata=token)

    refused, login, created = (event for event in response.events if event.action.startswith("/"))
    assert [each.action.rsplit("/", 1)[1] for each in (refused, login, created)] == [
        "Login",
        "Login",
        "CreateFirstAdmin",
    ]
    assert (refused.actor, refused.outcome) == ("nobody", audit_pb2.AUDIT_OUTCOME_DENIED)
    assert (login.subject["username"], login.service, login.outcome) == (ADMIN, "auth", audit_pb2.AUDIT_OUTCOME_DONE)
    assert login.session_id
    assert created.actor == "stack"
    assert not any(secret in str(response) for secret in (canary, ADMIN_PASSWORD))


async def test_a_service_relays_over_the_wire_and_a_lost_answer_doubles_nothing(
    served: Served, stub: Any, database_url: Callable[[str], str]
) -> None:
    trading = stub_of(served, "trading")
    losing = True

    async def send(events: Sequence[audit_pb2.AuditEvent]) -> None:
        await trading.AppendAuditEvents(pb.AppendAuditEventsRequest(events=events))
        if losing:
            raise ConnectionError("the answer was lost")

    async with open_audit_log(SecretStr(database_url("trading")), "trading") as log:
        await log.record("strategy_paused", actor="ann", subject={"strategy": "signals"})
        with pytest.raises(ConnectionError):
            await log.relay_batch(send)
        losing = False
        await log.relay_batch(send)
        assert await log.relay_batch(partial(send)) == 0

    (event,) = await listed(stub)
    assert (event.action, event.service) == ("strategy_paused", "trading")
    assert event.subject == {"strategy": "signals"}
