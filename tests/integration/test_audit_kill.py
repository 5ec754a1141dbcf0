"""The audit of a service that is killed: what was answered is in the chain, once."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from levimesh.auth.v1 import audit_pb2, audit_service_pb2, audit_service_pb2_grpc
from levimesh.trading.v1 import trading_service_pb2_grpc as pb_grpc
from services.runtime.channels import open_channel
from services.stack.ports import find_free
from tests.auth import RunningAuth, auth_settings, running_auth
from tests.integration.test_trading_process import trading_process, until_part_holds
from tests.mesh import files_of
from tests.trader import BUY, SELL, Trader, until
from tests.trading import SERVICE, World, a_world

AUDIT = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]
SUBMIT_ORDER = "/levimesh.trading.v1.TradingService/SubmitOrder"


@pytest.fixture
async def auth(database_url: Callable[[str], str], certificates: Path) -> AsyncIterator[RunningAuth]:
    async with running_auth(auth_settings(database_url("auth")), certificates) as running:
        await running.create_admin()
        yield running


@pytest.fixture
async def world(database_url: Callable[[str], str], redis_url: str, certificates: Path) -> AsyncIterator[World]:
    async with a_world(database_url("trading"), redis_url, certificates) as world:
        yield world


async def submitted(audit: Any, token: Any) -> list[audit_pb2.AuditEvent]:
    """Every SubmitOrder in the chain."""
    request = audit_service_pb2.ListAuditEventsRequest(page_size=1000, action=SUBMIT_ORDER)
    response = await audit.ListAuditEvents(request, metadata=token)
    assert not response.next_page_token
    return list(response.events)


async def test_what_a_killed_service_has_answered_is_in_the_chain_once(world: World, auth: RunningAuth) -> None:
    (port,) = find_free(1, first=12_000 + secrets.randbelow(18_000))
    token = await auth.login()
    audit = audit_service_pb2_grpc.AuditServiceStub(auth.served.channel(AUDIT))
    answered: list[str] = []
    async with open_channel(
        SERVICE, "trading", f"127.0.0.1:{port}", files_of(world.certificates, "gateway")
    ) as channel:
        ann = Trader(pb_grpc.TradingServiceStub(channel), token)

        async def order_without_end(name: str) -> None:
            for number in range(10_000):
                client_id = f"{name}-{number}"
                await ann.submit(SELL if number % 2 else BUY, "0.1", client_id=client_id)
                answered.append(client_id)

        for life in range(2):
            async with trading_process(world, auth, port) as process:
                await until_part_holds(channel, "marketdata")
                tasks = [asyncio.create_task(order_without_end(f"{life}-{name}")) for name in range(4)]
                enough = len(answered) + 40

                async def many(enough: int = enough) -> bool:
                    return len(answered) > enough

                await until(many)
                process.kill()
                await process.wait()
                await asyncio.gather(*tasks, return_exceptions=True)

        async with trading_process(world, auth, port):
            await until_part_holds(channel, "marketdata")

            async def all_there() -> bool:
                found = {event.subject["client_order_id"] for event in await submitted(audit, token)}
                return found >= set(answered)

            await until(all_there)

    done = [
        event.subject["client_order_id"]
        for event in await submitted(audit, token)
        if event.outcome == audit_pb2.AUDIT_OUTCOME_DONE
    ]
    assert {client_id: many for client_id, many in Counter(done).items() if many > 1} == {}
    verdict = await audit.VerifyAuditChain(audit_service_pb2.VerifyAuditChainRequest(), metadata=token)
    assert verdict.intact, verdict.problem


async def test_a_refused_order_is_in_the_chain(world: World, auth: RunningAuth) -> None:
    (port,) = find_free(1, first=12_000 + secrets.randbelow(18_000))
    token = await auth.login()
    audit = audit_service_pb2_grpc.AuditServiceStub(auth.served.channel(AUDIT))
    async with (
        open_channel(SERVICE, "trading", f"127.0.0.1:{port}", files_of(world.certificates, "gateway")) as channel,
        trading_process(world, auth, port),
    ):
        await until_part_holds(channel, "marketdata")
        nobody = Trader(pb_grpc.TradingServiceStub(channel), (("x-levimesh-address", "203.0.113.9"),))
        with pytest.raises(grpc.aio.AioRpcError):
            await nobody.submit(client_id="not-mine")

        async def there() -> bool:
            return bool(await submitted(audit, token))

        await until(there)

    (event,) = await submitted(audit, token)
    assert (event.service, event.actor, event.address) == ("trading", "gateway", "203.0.113.9")
    assert event.outcome == audit_pb2.AUDIT_OUTCOME_DENIED
