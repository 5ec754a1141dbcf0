"""A market that trades at a steady rate, and marketdata that follows it: the real processes, for benchmarks.

simex replays trades that were made beforehand and sends each by its websocket as Binance does; marketdata reads them
with ccxt and stores them in a PostgreSQL that keeps what it has committed (fsync is on).
"""

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as parquet

from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc as pb_grpc
from services.runtime.migrations import migrate
from services.stack.certificates import Authority
from services.stack.ports import find_free
from services.stack.postgres import Cluster, RunAs, run_as
from services.stack.redis import RedisServer
from tests.mesh import files_of

SYMBOLS = ("BTC-USDT", "ETH-USDT")
"""Each has its share of the trades."""
_START = datetime(2024, 8, 9, tzinfo=UTC)
_SPARE_SECONDS = 120
"""How long the market is open beyond what is asked for, so that everything can start."""
_PASSWORD = "bench"  # noqa: S105 - of servers that are gone when the benchmark ends
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class SteadyMarket:
    """A running service."""

    port: int
    certificates: Path
    server: psutil.Process
    """The process of marketdata."""

    def channel(self, **options: int) -> grpc.aio.Channel:
        """A connection of its own, as a workload that calls for itself: it may have as many streams as it likes."""
        known = [("grpc.ssl_target_name_override", "marketdata"), ("grpc.use_local_subchannel_pool", 1)]
        known += [("grpc.max_receive_message_length", -1), *((f"grpc.{key}", value) for key, value in options.items())]
        credentials = files_of(self.certificates, "prediction").channel_credentials()
        return grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options=known)

    async def first_trade(self) -> None:
        """Wait until a trade comes. Raises AioRpcError while it cannot come."""
        async with self.channel() as channel:
            async for response in pb_grpc.MarketDataServiceStub(channel).StreamTrades(pb.StreamTradesRequest()):
                if response.HasField("trades"):
                    return

    def lazy_channel(self) -> grpc.aio.Channel:
        """A connection on which little of what is not read has room, so that a reader who stalls is noticed soon."""
        return self.channel(**{"http2.lookahead_bytes": 65_535, "http2.bdp_probe": 0})


@asynccontextmanager
async def steady_market(trades_a_second: int, seconds: float, round_seconds: float) -> AsyncIterator[SteadyMarket]:
    """A market that trades for ``seconds``; what happened is sent every ``round_seconds``."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="levimesh-bench-")))
        Authority.open(folder / "certificates", folder / "ca.key", life=timedelta(days=1)).renew()
        database_url, redis_url = await _open_stores(stack, folder)
        _write_market(folder / "trades", trades_a_second // len(SYMBOLS), seconds)
        market, port = _a_port(), _a_port()
        await stack.enter_async_context(
            _running(
                [sys.executable, "-m", "services.simex"],
                folder / "simex.log",
                {
                    "SIMEX_PORT": str(market),
                    "SIMEX_REPLAY_DIR": str(folder / "trades"),
                    "SIMEX_REPLAY_START": _START.isoformat(),
                    "SIMEX_TICK_SECONDS": str(round_seconds),
                },
            )
        )
        await _until_ready(lambda: _connect(market))
        own = folder / "certificates" / "marketdata"
        server = await stack.enter_async_context(
            _running(
                [sys.executable, "-m", "services.marketdata"],
                folder / "marketdata.log",
                {
                    "MARKETDATA_PORT": str(port),
                    "MARKETDATA_DATABASE_URL": database_url,
                    "MARKETDATA_REDIS_URL": redis_url,
                    "MARKETDATA_TLS_CERTIFICATE": str(own / "certificate.pem"),
                    "MARKETDATA_TLS_PRIVATE_KEY": str(own / "private_key.pem"),
                    "MARKETDATA_TLS_TRUST_BUNDLE": str(folder / "certificates" / "ca.pem"),
                    # No user calls, so nobody has to publish the keys of their tokens.
                    "MARKETDATA_AUTH_TARGET": "127.0.0.1:1",
                    "MARKETDATA_BASE_URL": f"http://127.0.0.1:{market}",
                    "MARKETDATA_SYMBOLS": ",".join(SYMBOLS),
                },
            )
        )
        service = SteadyMarket(port, folder / "certificates", psutil.Process(server.pid))
        await _until_ready(service.first_trade)
        yield service


async def _open_stores(stack: AsyncExitStack, folder: Path) -> tuple[str, str]:
    cluster = Cluster(folder / "postgres" / "data", _a_port(), _PASSWORD)
    cluster.data.parent.mkdir()
    await cluster.initialise()
    redis = RedisServer(folder / "redis", _a_port(), _PASSWORD)
    await redis.prepare()
    await stack.enter_async_context(_running(redis.command, folder / "redis.log", {}))
    await stack.enter_async_context(_running(cluster.command, folder / "postgres.log", {}, unprivileged=True))
    await _until_ready(cluster.ping)
    await _until_ready(redis.ping)
    await cluster.provide("levimesh", {"marketdata": _PASSWORD})
    url = cluster.url("marketdata", _PASSWORD, "levimesh")
    await migrate("marketdata", url)
    return url, redis.url


def _write_market(folder: Path, trades_a_second: int, seconds: float) -> None:
    """Trades of each symbol with equal times between them, whose price goes up and down."""
    count = int(trades_a_second * (seconds + _SPARE_SECONDS))
    numbers = np.arange(count)
    columns = {
        "trade_id": numbers + 1,
        "ts": int(_START.timestamp()) * 1000 + numbers * 1000 // trades_a_second,
        "price": np.round(60_000 + 500 * np.sin(numbers / 10_000), 2),
        "qty": np.round(0.001 + (numbers % 997) / 10_000, 4),
        "side": np.where(numbers % 3, 1, -1),
    }
    folder.mkdir()
    for symbol in SYMBOLS:
        parquet.write_table(pa.table(columns), folder / f"bench_{symbol}_trades.parquet")


@asynccontextmanager
async def _running(
    command: Sequence[str], log: Path, environment: Mapping[str, str], *, unprivileged: bool = False
) -> AsyncIterator[asyncio.subprocess.Process]:
    paths = {"PYTHONPATH": ":".join(filter(None, [str(Path.cwd()), *sys.path]))}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **paths, **environment},
            stdout=output,
            stderr=output,
            **(run_as() if unprivileged else RunAs(user=None, group=None, extra_groups=None)),
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _until_ready(asked: Callable[[], Awaitable[object]]) -> None:
    """Wait until ``asked`` does not raise."""
    clock = asyncio.get_running_loop().time
    give_up = clock() + _PATIENCE_SECONDS
    while True:
        try:
            await asked()
        except Exception:
            # Whatever a server that is starting answers.
            if clock() > give_up:
                raise
            await asyncio.sleep(0.05)
        else:
            return


async def _connect(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


def _a_port() -> int:
    return find_free(1, first=12_000 + secrets.randbelow(18_000))[0]
