"""trading as the process that the stack runs: killed, started again, and told to stop."""

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from levimesh.trading.v1 import order_pb2
from levimesh.trading.v1 import trading_service_pb2_grpc as pb_grpc
from services.runtime.channels import open_channel
from services.stack.ports import find_free
from tests.auth import RunningAuth, auth_settings, running_auth
from tests.mesh import error_info, files_of
from tests.trader import BUY, SELL, Trader, until
from tests.trading import SERVICE, World, a_world

WITHIN = 20.0
FILLED = order_pb2.ORDER_STATUS_FILLED


@asynccontextmanager
async def trading_process(
    world: World, auth: RunningAuth, port: int, **settings: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    files = files_of(world.certificates, "trading")
    environment = {
        "TRADING_PORT": str(port),
        "TRADING_DATABASE_URL": world.database_url,
        "TRADING_REDIS_URL": world.redis_url,
        "TRADING_TLS_CERTIFICATE": str(files.certificate),
        "TRADING_TLS_PRIVATE_KEY": str(files.private_key),
        "TRADING_TLS_TRUST_BUNDLE": str(files.trust_bundle),
        "TRADING_AUTH_TARGET": auth.served.target,
        "TRADING_MARKETDATA_TARGET": world.marketdata_served.target,
        "TRADING_PREDICTION_TARGET": world.prediction_served.target,
        "TRADING_DRAIN_NOTICE_SECONDS": "0",
        "PYTHONPATH": ":".join(filter(None, sys.path)),
        **settings,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.trading"),
        env={**os.environ, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.fixture
async def auth(database_url: Callable[[str], str], certificates: Path) -> AsyncIterator[RunningAuth]:
    async with running_auth(auth_settings(database_url("auth")), certificates) as running:
        await running.create_admin()
        yield running


@pytest.fixture
async def world(database_url: Callable[[str], str], redis_url: str, certificates: Path) -> AsyncIterator[World]:
    async with a_world(database_url("trading"), redis_url, certificates) as world:
        yield world


async def test_killing_the_process_loses_no_acknowledged_order(world: World, auth: RunningAuth) -> None:
    (port,) = find_free(1, first=12_000 + secrets.randbelow(18_000))
    files = files_of(world.certificates, "gateway")
    async with open_channel(SERVICE, "trading", f"127.0.0.1:{port}", files) as channel:
        ann = Trader(pb_grpc.TradingServiceStub(channel), await auth.login())
        acknowledged: dict[str, order_pb2.Order] = {}

        async def order_without_end(name: int) -> None:
            for number in range(10_000):
                client_id = f"{name}-{number}"
                acknowledged[client_id] = await ann.submit(SELL if number % 2 else BUY, "0.1", client_id=client_id)

        async with trading_process(world, auth, port) as process:
            await until_part_holds(channel, "marketdata")
            resting = await ann.submit(BUY, "1", "99", client_id="resting")
            tasks = [asyncio.create_task(order_without_end(name)) for name in range(4)]

            async def many() -> bool:
                return len(acknowledged) > 40

            await until(many)
            process.kill()
            await process.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        async with trading_process(world, auth, port) as process:
            await until_part_holds(channel, "marketdata")
            for client_id, order in acknowledged.items():
                assert await ann.order(order.order_id) == order, client_id
            recorded = {order.client_order_id: order for order in await ann.orders(page_size=1000)}
            assert recorded.keys() >= acknowledged.keys()
            # Sent again, what was in flight is there once; whether it had been recorded makes no difference.
            for name in range(4):
                number = sum(1 for client_id in acknowledged if client_id.startswith(f"{name}-"))
                await ann.submit(SELL if number % 2 else BUY, "0.1", client_id=f"{name}-{number}")
            assert len(await ann.orders(page_size=1000)) == len(acknowledged) + 4 + 1
            world.marketdata.trade("99", "1")
            await ann.becomes(resting.order_id, FILLED)

            process.send_signal(signal.SIGTERM)
            _, log = await process.communicate()

    assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["message"] for line in lines][-1] == "stopped"
    assert [line for line in lines if line["level"] == "ERROR"] == []
    assert ann.metadata[0][1].removeprefix("Bearer ").encode() not in log


async def test_it_serves_without_its_neighbours_and_says_that_they_are_away(world: World, auth: RunningAuth) -> None:
    port, nobody = find_free(2, first=12_000 + secrets.randbelow(18_000))
    alone = {
        "TRADING_MARKETDATA_TARGET": f"127.0.0.1:{nobody}",
        "TRADING_PREDICTION_TARGET": f"127.0.0.1:{nobody}",
        "TRADING_REDIS_URL": f"redis://127.0.0.1:{nobody}",
    }
    files = files_of(world.certificates, "gateway")
    async with (
        open_channel(SERVICE, "trading", f"127.0.0.1:{port}", files) as channel,
        trading_process(world, auth, port, **alone),
    ):
        await until_part_holds(channel, "")
        ann = Trader(pb_grpc.TradingServiceStub(channel), await auth.login())

        assert (await ann.portfolio()).equity.value == "100000"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ann.submit()
        assert error_info(refused.value).reason == "ERROR_REASON_DEPENDENCY_UNAVAILABLE"
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for part in ("marketdata", "signals", "redis"):
            health = await stub.Check(health_pb2.HealthCheckRequest(service=part))
            assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def until_part_holds(channel: grpc.aio.Channel, part: str) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)

    async def holds() -> bool:
        try:
            health = await stub.Check(health_pb2.HealthCheckRequest(service=part))
        except grpc.aio.AioRpcError:
            return False
        return bool(health.status == health_pb2.HealthCheckResponse.SERVING)

    await until(holds, WITHIN)
