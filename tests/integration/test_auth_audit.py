"""The audit chain: services append to it, admins read it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from levimesh.auth.v1 import audit_pb2, auth_service_pb2
from levimesh.auth.v1 import audit_service_pb2 as pb
from levimesh.auth.v1 import audit_service_pb2_grpc as pb_grpc
from services.runtime import timestamps
from services.runtime.audit_outbox import open_audit_log
from services.runtime.pagination import encode_page_token
from tests.audit_chain import NOON, SERVICE, ServedChain, an_event, running_chain
from tests.auth import ADMIN, ADMIN_PASSWORD, auth_settings, running_auth
from tests.mesh import error_info


@pytest.fixture
async def chain(database_url: Callable[[str], str], certificates: Path, tmp_path: Path) -> AsyncIterator[ServedChain]:
    async with running_chain(database_url("auth"), certificates, tmp_path) as chain:
        yield chain


async def test_what_services_append_at_once_makes_one_chain_without_a_gap(chain: ServedChain) -> None:
    workloads = ("marketdata", "prediction", "trading")
    batches = [
        [an_event(actor=f"{workload} {batch}") for _ in range(7)] for workload in workloads for batch in range(12)
    ]

    await asyncio.gather(
        *(chain.append(*batch, workload=batch[0].actor.split()[0]) for batch in batches),
    )

    events = await chain.listed(page_size=1000)
    assert [event.sequence for event in reversed(events)] == list(range(1, 3 * 12 * 7 + 1))
    assert {event.event_id for event in events} == {event.event_id for batch in batches for event in batch}
    assert all(event.service == event.actor.split()[0] for event in events)
    found = await chain.verified()
    assert (found.intact, found.checked, found.head_hash) == (True, 3 * 12 * 7, events[0].hash)


async def test_a_service_speaks_only_for_itself(chain: ServedChain) -> None:
    await chain.append(an_event(service="auth", sequence=77, hash="00" * 32), workload="prediction")

    (event,) = await chain.listed()
    assert (event.service, event.sequence) == ("prediction", 1)
    assert event.hash != "00" * 32


async def test_an_event_that_is_in_the_chain_is_left_out(chain: ServedChain) -> None:
    known, new = an_event(), an_event()
    await chain.append(known)

    await chain.append(known, new, new)

    assert [event.event_id for event in await chain.listed()] == [new.event_id, known.event_id]


async def test_an_event_comes_back_as_it_was_recorded(chain: ServedChain) -> None:
    event = an_event(subject={"username": 'ü "quoted" \N{PILE OF POO}', "order_id": ""})
    await chain.append(event)

    (found,) = await chain.listed()

    event.sequence, event.hash, event.service = 1, found.hash, "trading"
    assert found == event


@pytest.mark.parametrize("workload", ["gateway", "auth", "stranger", "stack"])
async def test_nobody_else_may_append(chain: ServedChain, workload: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await chain.append(an_event(), workload=workload)

    assert refused.value.code() in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)


async def test_pages_follow_one_another_also_while_events_are_added(chain: ServedChain) -> None:
    await chain.append(*(an_event(number) for number in range(7)))
    request, seen = pb.ListAuditEventsRequest(page_size=3), []
    while True:
        page = await chain.page(request)
        seen += [event.sequence for event in page.events]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
        await chain.append(an_event())

    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_a_page_token_is_good_for_its_filters_only(chain: ServedChain) -> None:
    await chain.append(an_event(), an_event())
    request = pb.ListAuditEventsRequest(page_size=1)
    page = await chain.page(request)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await chain.listed(actor="bob", page_token=page.next_page_token)

    assert error_info(refused.value).reason == "ERROR_REASON_PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("position", [[], ["1", "2"], ["one"], ["0"], ["-1"], ["٣"], ["9" * 19], ["9" * 300]])
async def test_a_page_token_that_was_not_given_out_is_refused(chain: ServedChain, position: list[str]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await chain.listed(page_token=encode_page_token(position, pb.ListAuditEventsRequest()))

    assert error_info(refused.value).reason == "ERROR_REASON_PAGE_TOKEN_INVALID"


async def test_filters_choose_events(chain: ServedChain) -> None:
    await chain.append(
        an_event(1),
        an_event(2, actor="bob"),
        an_event(3, action="login_locked"),
        an_event(4, outcome=audit_pb2.AUDIT_OUTCOME_DENIED),
    )
    after = {number: timestamps.to_pb(NOON + timedelta(seconds=number)) for number in (2, 4)}

    async def numbers(**wanted: Any) -> list[int]:
        return [event.sequence for event in await chain.listed(**wanted)]

    assert await numbers(actor="bob") == [2]
    assert await numbers(action="login_locked") == [3]
    assert await numbers(outcome=audit_pb2.AUDIT_OUTCOME_DENIED) == [4]
    assert await numbers(start_time=after[2], end_time=after[4]) == [3, 2]
    assert await numbers(start_time=after[2], actor="ann") == [4, 3]


async def test_logins_are_in_the_chain_and_no_password_is_anywhere(chain: ServedChain, certificates: Path) -> None:
    canary = "canary-password-5f2d"
    async with (
        open_audit_log(SecretStr(chain.url), "auth") as log,
        running_auth(auth_settings(chain.url), certificates, log=log) as running,
    ):
        await running.create_admin()
        token = await running.login()
        with pytest.raises(grpc.aio.AioRpcError):
            await running.as_workload("gateway").Login(
                auth_service_pb2.LoginRequest(username="nobody", password=canary, second_factor=canary)
            )
        async with chain.engine.connect() as connection:
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
    chain: ServedChain, database_url: Callable[[str], str]
) -> None:
    trading = chain.stub("trading")
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

    (event,) = await chain.listed()
    assert (event.action, event.service) == ("strategy_paused", "trading")
    assert event.subject == {"strategy": "signals"}
