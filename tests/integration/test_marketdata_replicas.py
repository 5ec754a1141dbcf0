"""One replica leads a source, all serve; when it goes, another goes on, and nothing is lost or doubled."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import quality_service_pb2, quality_service_pb2_grpc, source_pb2, trade_pb2
from services.marketdata.adapters.trades import PostgresTrades
from services.marketdata.domain.market import Trade
from services.runtime.database import open_database
from tests.marketdata import BTC, Running, World, a_world, until
from tests.marketdata_process import marketdata_process

QUALITY = quality_service_pb2.DESCRIPTOR.services_by_name["DataQualityService"]
WITHIN = 10.0
"""How long the feed may stay away when a leader is killed."""


@pytest.fixture
def world(database_url: Callable[[str], str], redis_url: str, certificates: Path, tmp_path: Path) -> World:
    return a_world(database_url("marketdata"), redis_url, certificates, tmp_path)


@dataclass
class Subscriber:
    """Reads the trades of a symbol from a replica."""

    trades: list[trade_pb2.Trade] = field(default_factory=list)
    gaps: int = 0

    async def read(self, replica: Running) -> None:
        request = pb.StreamTradesRequest(symbols=[BTC])
        async for message in replica.stub.StreamTrades(request, metadata=replica.metadata):
            self.gaps += message.HasField("gap")
            self.trades += message.trades.trades

    @property
    def sequences(self) -> list[int]:
        return [trade.sequence for trade in self.trades]

    def has_seen_everything_once(self) -> None:
        assert self.gaps == 0
        assert self.sequences == list(range(self.sequences[0], self.sequences[0] + len(self.sequences)))


@asynccontextmanager
async def subscribed(replica: Running) -> AsyncIterator[Subscriber]:
    subscriber = Subscriber()
    reading = asyncio.create_task(subscriber.read(replica))
    try:
        yield subscriber
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def source_of(replica: Running) -> source_pb2.Source:
    """The source as a replica lists it."""
    stub = quality_service_pb2_grpc.DataQualityServiceStub(replica.served.channel(QUALITY))
    listed = await stub.ListSources(quality_service_pb2.ListSourcesRequest(), metadata=replica.metadata)
    (source,) = listed.sources
    return source


def is_led_by(replica: Running, name: str) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        source = await source_of(replica)
        return (source.leader, source.state, source.symbols) == (name, source_pb2.SOURCE_STATE_LIVE, 2)

    return is_so


async def stored_trades(world: World) -> list[Trade]:
    async with open_database(world.settings().database_url) as engine:
        return await PostgresTrades(engine).after(BTC, 0, 1_000_000)


def assert_whole(trades: Sequence[Trade]) -> None:
    """The trades are numbered without holes, and none is missing or there twice by its id at the exchange."""
    assert [trade.sequence for trade in trades] == list(range(1, len(trades) + 1))
    ids = sorted(int(trade.trade_id) for trade in trades)
    assert ids == list(range(ids[0], ids[0] + len(ids)))


async def goes_on_until(world: World, condition: Callable[[], bool]) -> None:
    """Let the exchange trade until something has come of it."""
    async with asyncio.timeout(30):
        while not condition():
            await world.exchange.goes_on_for(20)


async def has_all_repaired(world: World) -> None:
    async def is_whole() -> bool:
        ids = {int(trade.trade_id) for trade in await stored_trades(world)}
        return len(ids) == max(ids) - min(ids) + 1

    await until(is_whole)


async def test_one_replica_leads_and_all_tell_the_same_and_stream_the_same(world: World) -> None:
    async with (
        world.exchange.running(),
        world.marketdata(replica="one") as one,
        world.marketdata(replica="two", without=["simex feed"]) as two,
    ):
        await until(is_led_by(two, "one"))
        assert (await source_of(one)).leader == "one"
        assert [backfill.complete for backfill in await one.has_history()] == [True] * 4
        assert len(await two.has_history()) == 4
        async with subscribed(one) as first, subscribed(two) as second:
            await goes_on_until(world, lambda: min(len(first.trades), len(second.trades)) >= 30)
            first.has_seen_everything_once()
            second.has_seen_everything_once()

        async def counts() -> bool:
            await world.exchange.goes_on_for(20)
            return (await source_of(two)).rows >= 30

        await until(counts)
        source = await source_of(two)
        assert (source.symbols, source.problem, source.quarantined) == (2, "", 0)
        assert source.HasField("last_message_time")
        await two.becomes("feed:simex", holds=True)
    assert_whole(await stored_trades(world))


async def test_a_leader_that_vanishes_is_replaced_and_subscribers_of_both_replicas_see_every_trade_once(
    world: World,
) -> None:
    async with (
        world.exchange.running(),
        world.marketdata(replica="reader", without=["simex feed"]) as other,
        AsyncExitStack() as stack,
    ):
        async with world.marketdata(replica="leader", abandoned=True) as leader:
            await until(is_led_by(other, "leader"))
            subscriber = await stack.enter_async_context(subscribed(other))
            async with subscribed(leader) as own:
                await goes_on_until(world, lambda: min(len(own.trades), len(subscriber.trades)) >= 20)
                own.has_seen_everything_once()
        async with world.marketdata(replica="next") as following:
            async with asyncio.timeout(WITHIN):
                await until(is_led_by(following, "next"))
            seen = len(subscriber.trades)
            await goes_on_until(world, lambda: len(subscriber.trades) >= seen + 20)
            await has_all_repaired(world)
            total = len(await stored_trades(world))
            await goes_on_until(world, lambda: subscriber.sequences[-1] >= total)
        subscriber.has_seen_everything_once()
    assert_whole(await stored_trades(world))


async def test_a_leader_that_stops_hands_over_at_once(world: World) -> None:
    async with world.exchange.running(), world.marketdata(replica="one") as one:
        await until(is_led_by(one, "one"))
        async with world.marketdata(replica="two") as two:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2):
                    await until(is_led_by(two, "two"))
            for task in one.tasks:
                task.cancel()
            async with asyncio.timeout(5):
                await until(is_led_by(two, "two"))


async def test_killing_the_process_that_leads_moves_the_feed_and_loses_nothing(world: World) -> None:
    async with (
        world.exchange.running(),
        marketdata_process(world, replica="doomed") as process,
        AsyncExitStack() as stack,
    ):
        async with world.marketdata(replica="reader", without=["simex feed"]) as reader:
            await until(is_led_by(reader, "doomed"), seconds=60)
        heir = await stack.enter_async_context(world.marketdata(replica="heir"))
        await until(is_led_by(heir, "doomed"))
        subscriber = await stack.enter_async_context(subscribed(heir))
        await goes_on_until(world, lambda: len(subscriber.trades) >= 20)
        process.kill()
        await process.wait()
        killed_at = asyncio.get_running_loop().time()
        # Meanwhile the exchange goes on.
        await world.exchange.goes_on_for(200)
        await until(is_led_by(heir, "heir"))
        assert asyncio.get_running_loop().time() - killed_at < WITHIN
        seen = len(subscriber.trades)
        await goes_on_until(world, lambda: len(subscriber.trades) >= seen + 20)
        await has_all_repaired(world)
        total = len(await stored_trades(world))
        await goes_on_until(world, lambda: subscriber.sequences[-1] >= total)
        subscriber.has_seen_everything_once()
    assert_whole(await stored_trades(world))
