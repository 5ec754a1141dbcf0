"""Two processes of marketdata in a mesh: kill -9 of the one that gathers, and then of the other, loses nothing."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc
import psutil
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from levimesh.client import Client
from levimesh.client.client import OnGap
from levimesh.client.streams import resume
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc, quality_service_pb2_grpc, stream_pb2, trade_pb2
from levimesh.marketdata.v1 import quality_service_pb2 as quality_pb
from services.runtime.channels import open_channel
from services.stack.ports import find_free
from services.stack.state import Memory, State
from services.stack.topology import workload_files
from tests.embedded import Mesh, a_mesh
from tests.mesh import bearing
from tests.recorded import Recording, a_recording, row_of
from tests.subscriber import Subscriber, assert_each_once, subscribed

pytestmark = [pytest.mark.realdata, pytest.mark.timeout(600)]

SPEED = 4.0
SINCE = datetime(2024, 8, 9, 0, 2, tzinfo=UTC)
"""The last three minutes are replayed."""
PATIENCE = 75.0
"""Seconds for what takes a few, on a machine with much else to do."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return a_recording(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def mesh(recording: Recording) -> Iterator[Mesh]:
    """A mesh that replays what was recorded. No model is trained of it, so the mesh does not wait for one."""
    memory = Memory(f"replay:{recording.folder}", SPEED, ["history", "strategy"])
    with a_mesh(memory=memory, SIMEX_REPLAY_START=recording.opening.isoformat()) as mesh:
        yield mesh


@dataclass
class Replica:
    """A process of marketdata beside the mesh's own, on the same database and Redis."""

    process: asyncio.subprocess.Process
    channel: Callable[[ServiceDescriptor], grpc.aio.Channel]
    metadata: tuple[tuple[str, str], ...]

    async def leader(self) -> str:
        """Who gathers, as this replica tells."""
        stub = quality_service_pb2_grpc.DataQualityServiceStub(
            self.channel(quality_pb.DESCRIPTOR.services_by_name["DataQualityService"])
        )
        answer = await stub.ListSources(quality_pb.ListSourcesRequest(), metadata=self.metadata)
        (source,) = answer.sources
        return source.leader

    async def market_data(
        self, instruments: Sequence[stream_pb2.Instrument], *, on_gap: OnGap
    ) -> AsyncGenerator[pb.StreamMarketDataResponse, None]:
        """The stream of this replica, for as long as it lives and longer."""
        stub = marketdata_service_pb2_grpc.MarketDataServiceStub(
            self.channel(pb.DESCRIPTOR.services_by_name["MarketDataService"])
        )

        def open_stream(
            token: str,
        ) -> "grpc.aio.UnaryStreamCall[pb.StreamMarketDataRequest, pb.StreamMarketDataResponse]":
            request = pb.StreamMarketDataRequest(instruments=instruments, resume_token=token)
            return stub.StreamMarketData(request, metadata=self.metadata)

        async with aclosing(resume(open_stream)) as messages:
            async for message in messages:
                if message.HasField("gap"):
                    on_gap(message.gap.gap)
                else:
                    yield message


@asynccontextmanager
async def another_replica(mesh: Mesh) -> AsyncIterator[Replica]:
    """Runs beside the mesh's replica, called ``second``."""
    port, metrics_port = find_free(2, first=mesh.settings.marketdata_port + 200)
    own = psutil.Process(mesh.pid_of("marketdata"))
    ports = {"MARKETDATA_PORT": str(port), "MARKETDATA_METRICS_PORT": str(metrics_port)}
    process = await asyncio.create_subprocess_exec(
        *own.cmdline(),
        env={**own.environ(), **ports, "MARKETDATA_REPLICA": "second"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    files = workload_files(State(mesh.state), "gateway")
    channels: list[grpc.aio.Channel] = []

    def channel(service: ServiceDescriptor) -> grpc.aio.Channel:
        channels.append(open_channel(service, "marketdata", f"127.0.0.1:{port}", files))
        return channels[-1]

    try:
        yield Replica(process, channel, bearing(mesh.token()))
    finally:
        for each in channels:
            await each.close()
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until ``condition`` holds; what is starting again does not hold yet."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(grpc.aio.AioRpcError):
                if await condition():
                    return
            await asyncio.sleep(0.5)


async def has_told_more(subscriber: Subscriber, rows: int) -> None:
    """Wait until so many trades more were told."""
    wanted = len(told(subscriber)) + rows

    async def is_so() -> bool:
        return len(told(subscriber)) >= wanted

    await until(is_so)


def told(subscriber: Subscriber) -> list[trade_pb2.Trade | None]:
    return [trade for trades in subscriber.trades.values() for trade in trades]


async def stored_trades(client: Client, symbol: str) -> list[trade_pb2.Trade]:
    request = pb.ListTradesRequest(symbol=symbol, start_time=Timestamp(), page_size=10_000)
    page = await client.marketdata.ListTrades(request)
    assert not page.next_page_token
    return sorted(page.trades, key=lambda trade: int(trade.trade_id))


async def test_killing_one_replica_and_then_the_other_neither_loses_nor_doubles_a_trade(
    mesh: Mesh, recording: Recording
) -> None:
    symbols = list(recording.rows)
    async with Client.connect(mesh.profile) as client, another_replica(mesh) as second:
        dead = {""}

        async def leads_second() -> bool:
            leader = await second.leader()
            if leader not in {"second", *dead}:
                # Also if the mesh has started its replica so quickly that it leads again.
                os.kill(mesh.pid_of("marketdata"), signal.SIGKILL)
                dead.add(leader)
            return leader == "second"

        async def leads_first() -> bool:
            answer = await client.quality.ListSources(quality_pb.ListSourcesRequest())
            return answer.sources[0].leader not in ("", "second")

        async def is_all_told() -> bool:
            ids = {symbol: [int(t.trade_id) for t in trades if t] for symbol, trades in first.trades.items()}
            return all(
                ids.get(symbol) and sorted(ids[symbol]) == list(range(min(ids[symbol]), int(rows[-1][0]) + 1))
                for symbol, rows in recording.rows.items()
            )

        await until(leads_first)
        async with subscribed(client.market_data, symbols) as first, subscribed(second.market_data, symbols) as other:
            recording.play(mesh.pid_of("simex"), mesh.state / "simex", SINCE)
            await has_told_more(other, 300)
            await until(leads_second)
            await has_told_more(other, 300)
            await has_told_more(first, 300)
            second.process.kill()
            await until(leads_first)
            await until(is_all_told)

            for symbol, rows in recording.rows.items():
                stored = await stored_trades(client, symbol)
                begin = next(index for index, row in enumerate(rows) if row[0] == stored[0].trade_id)
                assert list(map(row_of, stored)) == list(rows[begin:])
                assert sorted(trade.sequence for trade in stored) == list(range(1, len(stored) + 1))
                by_sequence = {trade.sequence: row_of(trade) for trade in stored}
                for subscriber in (first, other):
                    assert_each_once(subscriber.trades[symbol])
                    assert [t for t in subscriber.trades[symbol] if t and by_sequence[t.sequence] != row_of(t)] == []
