"""Candles from live trades equal the exchange's own, whatever happens to the connection or the process."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from levimesh.marketdata.v1 import candle_pb2
from services.marketdata.adapters.candles import PostgresCandles
from services.marketdata.domain.market import Origin
from services.runtime.database import open_database
from tests.marketdata import (
    BTC,
    ETH,
    FIVE,
    INTERVAL_1M,
    INTERVAL_5M,
    MARKET_TIME,
    MINUTE,
    Running,
    World,
    a_world,
    until,
    values_of,
)


@pytest.fixture
async def world(database_url: Callable[[str], str], redis_url: str, certificates: Path, tmp_path: Path) -> World:
    return a_world(database_url("marketdata"), redis_url, certificates, tmp_path)


async def assert_exact(world: World, service: Running, minutes: int) -> list[candle_pb2.Candle]:
    """The candles of the last ``minutes`` equal the exchange's; returns those of BTC of a minute."""
    end = MINUTE.floor(world.exchange.now)
    start = FIVE.floor(end - timedelta(minutes=minutes))
    async with world.source() as source:
        for symbol in await source.symbols():
            for number, interval in ((INTERVAL_1M, MINUTE), (INTERVAL_5M, FIVE)):
                over = interval.floor(end)
                await service.has_candle(symbol.symbol, number, over - interval.length)
                page = await source.candles(symbol, interval, start)
                expected = [values_of(candle) for candle in page if candle.open_time < over]
                # A trade that came later than it may take to settle, on a busy machine, corrects its candle.
                await service.has_candles(symbol.symbol, number, start, over, expected)
    return await service.candles(BTC, INTERVAL_1M, start, end)


async def test_live_candles_are_built_from_trades_and_equal_those_of_the_exchange(world: World) -> None:
    async with world.exchange.running(), world.marketdata() as service:
        await service.has_history()
        started = world.exchange.now
        await world.exchange.goes_on_for(11 * 60)
        candles = await assert_exact(world, service, 20)
    live = [candle for candle in candles if candle.open_time.ToDatetime(UTC) > started]
    assert len(live) >= 9
    built = [candle for candle in live if candle.origin == candle_pb2.CANDLE_ORIGIN_TRADES]
    assert len(built) >= len(live) - 2


async def test_a_service_that_was_stopped_in_mid_candle_goes_on_without_a_hole_and_fetches_only_what_it_missed(
    world: World,
) -> None:
    async with world.exchange.running():
        async with world.marketdata() as service:
            await service.has_history()
            await world.exchange.goes_on_for(3 * 60)
            await service.has_candle(BTC, INTERVAL_1M, MINUTE.floor(world.exchange.now) - MINUTE.length)
        await world.exchange.goes_on_for(100)
        async with world.marketdata() as service:
            backfills = await service.has_history()
            await world.exchange.goes_on_for(4 * 60)
            candles = await assert_exact(world, service, 15)
    assert all(backfill.stored_candles == backfill.total_candles for backfill in backfills)
    assert candles[-1].origin == candle_pb2.CANDLE_ORIGIN_TRADES


async def test_what_was_missed_during_a_stop_is_streamed_to_readers_that_resume(world: World) -> None:
    async with world.exchange.running():
        async with world.marketdata() as service:
            await service.has_history()
            token = await service.token(INTERVAL_1M)
        await world.exchange.goes_on_for(5 * 60)
        async with world.marketdata() as service:
            await service.has_history()
            seen = await service.next_candles(INTERVAL_1M, BTC, 4, token)
    opens = [candle.open_time.ToDatetime(UTC) for candle in seen]
    assert opens == [opens[0] + index * MINUTE.length for index in range(4)]
    assert opens[0] == MINUTE.floor(MARKET_TIME)


async def test_an_exchange_that_went_away_is_found_again_and_no_candle_is_wrong(world: World) -> None:
    async with world.marketdata() as service:
        async with world.exchange.running():
            await service.has_history()
            await service.becomes("feed:simex", holds=True)
            await world.exchange.goes_on_for(90)
        await service.becomes("feed:simex", holds=False)
        assert "check that it runs" in service.health.problems["feed:simex"]
        world.exchange.clock.advance(130)
        async with world.exchange.running():
            await service.has_traded(BTC, world.exchange)
            await service.has_traded(ETH, world.exchange)
            await service.becomes("feed:simex", holds=True)
            again = world.exchange.now

            async def are_built_of_trades() -> bool:
                # Some may come from the exchange: its clock is moved faster than its trades come.
                await world.exchange.goes_on_for(60)
                candles = await service.candles(BTC, INTERVAL_1M, again, world.exchange.now)
                return candle_pb2.CANDLE_ORIGIN_TRADES in {candle.origin for candle in candles}

            await until(are_built_of_trades)
            await assert_exact(world, service, 15)


async def test_a_candle_that_was_stored_but_not_published_is_published_after_a_crash(world: World) -> None:
    async with world.exchange.running():
        async with world.marketdata() as service:
            await service.has_history()
            token = await service.token(INTERVAL_1M)
        async with open_database(world.settings().database_url) as engine:
            # The state after a crash between the commit and the publication.
            store = PostgresCandles(engine)
            history = await store.history(BTC, MINUTE)
            assert history is not None
            (last,) = await store.newest_candles(BTC, MINUTE, 1)
            orphan = last.flat_at(history.next_open, Origin.TRADES)
            await store.add([orphan], replace(history, next_open=orphan.close_time), None)
        async with world.marketdata() as service:
            await service.has_history()
            (candle,) = await service.next_candles(INTERVAL_1M, BTC, 1, token)
    assert values_of(candle) == values_of(orphan)
