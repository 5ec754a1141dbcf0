"""Late trades, sources that lag and stores that fail: the keeper of a series sets it right."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from pydantic import SecretStr

from levimesh.marketdata.v1 import candle_pb2
from services.marketdata.adapters.candles import PostgresCandles
from services.marketdata.adapters.journal import CANDLES
from services.marketdata.adapters.lines import PostgresLines
from services.marketdata.domain.builder import Built
from services.marketdata.domain.gaps import Coverage
from services.marketdata.domain.market import Candle, Interval, Origin, Symbol
from services.marketdata.domain.sequence import Step
from services.marketdata.keeping.candles import CandlePublishers
from services.marketdata.keeping.series_keeper import SeriesKeeper
from services.marketdata.ports.sources import SourceUnavailable
from services.runtime.database import open_database
from services.runtime.journal import RedisJournal, open_journal
from tests.marketdata import until, values_of
from tests.unit.marketdata.builders import BTC, MINUTE, a_candle, at, quiet

SYMBOL = Symbol(BTC, "BTC", "USDT", "simex", "BTC/USDT", *(a_candle(0).volume,) * 3)


@dataclass
class FakeSource:
    """Implements Source, with candles by hand."""

    held: dict[datetime, Candle] = field(default_factory=dict)
    asked: list[datetime] = field(default_factory=list)

    def has(self, *candles: Candle) -> None:
        self.held |= {candle.open_time: candle for candle in candles}

    async def symbols(self) -> list[Symbol]:
        return [SYMBOL]

    async def now(self) -> datetime:
        raise SourceUnavailable("it has no clock")

    async def candles(self, symbol: Symbol, interval: Interval, start: datetime) -> list[Candle]:
        self.asked.append(start)
        return [candle for time, candle in sorted(self.held.items()) if time >= start]

    async def trades(self, symbol: Symbol) -> list[Step]:
        raise SourceUnavailable("it has no trades")


@dataclass(frozen=True)
class Series:
    """A keeper at work on ten minutes of history up to noon, and what came of it."""

    keeper: SeriesKeeper
    source: FakeSource
    store: PostgresCandles
    journal: RedisJournal

    async def stored(self) -> list[Candle]:
        return await self.store.newest_candles(BTC, MINUTE, 100)

    async def published(self) -> list[candle_pb2.Candle]:
        entries = await self.journal.read(CANDLES[MINUTE], "0-0", 100)
        return [candle_pb2.Candle.FromString(entry.event) for entry in entries]

    async def ends_with(self, *candles: Candle, ticking: datetime | None = None) -> None:
        """Wait until the newest stored candles are these, being told the time ``ticking`` all the while."""

        async def has_come() -> bool:
            if ticking is not None:
                self.keeper.tell_time(ticking)
            return (await self.stored())[-len(candles) :] == list(candles)

        await until(has_come)

    async def has_published(self, *candles: Candle) -> None:
        """Wait until these, and no others, are published in this order."""

        async def has_come() -> bool:
            return len(await self.published()) >= len(candles)

        await until(has_come)
        assert [values_of(candle) for candle in await self.published()] == [values_of(candle) for candle in candles]


class Worlds:
    """Makes series on one database and Redis."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        self._urls = SecretStr(database_url), SecretStr(redis_url)

    @asynccontextmanager
    async def series(self, source: FakeSource) -> AsyncIterator[Series]:
        async with open_database(self._urls[0]) as engine, open_journal(self._urls[1]) as journal:
            store = PostgresCandles(engine)
            publishers = CandlePublishers(store, journal, PostgresLines(engine))
            keeper = SeriesKeeper(
                SYMBOL,
                MINUTE,
                timedelta(minutes=10),
                source,  # type: ignore[arg-type]  # only its candles are asked for
                store,
                Coverage(),
                None,
                publishers.offer,
            )
            works = [keeper.run, *publishers.work(lambda: [BTC]).values()]
            tasks = [asyncio.ensure_future(work()) for work in works]
            yield Series(keeper, source, store, journal)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


@pytest.fixture
def worlds(database_url: Callable[[str], str], redis_url: str) -> Worlds:
    return Worlds(database_url("marketdata"), redis_url)


def a_source() -> FakeSource:
    """A source with ten minutes of history up to noon."""
    source = FakeSource()
    source.has(*(a_candle(minute) for minute in range(-10, 0)))
    return source


async def test_history_is_stored_but_only_what_follows_it_is_published(worlds: Worlds) -> None:
    async with worlds.series(a_source()) as series:
        series.keeper.tell_time(at(0))
        await series.ends_with(a_candle(-1))
        await until(lambda: _complete(series))

        series.keeper.offer(Built([a_candle(0, origin=Origin.TRADES)]))
        series.keeper.tell_time(at(60))
        await series.has_published(a_candle(0))
        assert len(await series.stored()) == 11


async def _complete(series: Series) -> bool:
    return series.keeper.complete


async def test_a_late_trade_has_its_candle_read_again_replaced_and_published_again(worlds: Worlds) -> None:
    wrong, right = a_candle(0, origin=Origin.TRADES), a_candle(0, ("100", "120", "100", "100"), "5")
    async with worlds.series(a_source()) as series:
        series.keeper.tell_time(at(0))
        await until(lambda: _complete(series))
        series.keeper.offer(Built([wrong]))
        await series.has_published(wrong)

        series.source.has(right, a_candle(1))
        series.keeper.offer(Built(doubtful=[at(0)]))
        series.keeper.tell_time(at(60))
        await series.has_published(wrong, right)
        assert (await series.stored())[-1] == right


async def test_a_candle_that_the_source_shows_late_is_waited_for(worlds: Worlds) -> None:
    async with worlds.series(a_source()) as series:
        series.keeper.tell_time(at(0))
        await until(lambda: _complete(series))
        series.keeper.tell_time(at(60))
        series.keeper.offer(Built([a_candle(1)]))
        await until(lambda: _asked(series, at(0)))
        assert len(await series.stored()) == 10

        series.source.has(a_candle(0))
        await series.ends_with(a_candle(0), a_candle(1), ticking=at(61))
        await series.has_published(a_candle(0), a_candle(1))


async def _asked(series: Series, start: datetime) -> bool:
    return start in series.source.asked


async def test_an_interval_of_which_the_source_has_no_candle_is_quiet_once_a_later_one_is_over(worlds: Worlds) -> None:
    async with worlds.series(a_source()) as series:
        series.keeper.tell_time(at(0))
        await until(lambda: _complete(series))
        series.keeper.offer(Built([a_candle(1)]))
        series.keeper.tell_time(at(120))
        await series.has_published(quiet(0), a_candle(1))


async def test_after_a_restart_only_what_is_missing_is_fetched(worlds: Worlds) -> None:
    source = a_source()
    async with worlds.series(source) as series:
        series.keeper.tell_time(at(0))
        await until(lambda: _complete(series))
    source.has(a_candle(0), a_candle(1))
    source.asked.clear()
    async with worlds.series(source) as series:
        series.keeper.tell_time(at(120))
        await series.has_published(a_candle(0), a_candle(1))
    assert source.asked[0] == at(0)


async def test_a_longer_history_is_fetched_when_it_is_wanted_and_not_published(worlds: Worlds) -> None:
    source = a_source()
    source.has(*(a_candle(minute) for minute in range(-3000, -10)))
    async with worlds.series(source) as series:
        series.keeper.tell_time(at(0))
        await until(lambda: _complete(series))
    async with worlds.series(source) as series:
        series.keeper.span = timedelta(minutes=3000)
        series.keeper.tell_time(at(0))
        await until(lambda: _complete(series))
        progress = series.keeper.progress()
        assert progress is not None
        assert (progress.stored, progress.total) == (3000, 3000)
        assert await series.published() == []


async def test_a_source_whose_clock_is_far_behind_what_is_stored_is_refused_as_another_market(worlds: Worlds) -> None:
    async with worlds.series(a_source()) as series:
        series.keeper.tell_time(at(0))
        await until(lambda: _complete(series))
    async with worlds.series(a_source()) as series:
        series.keeper.tell_time(at(-2 * 86400))
        await until(lambda: _refused(series))
        assert series.keeper.problem is not None
        assert "give it another name by MARKETDATA_SOURCE" in series.keeper.problem


async def test_a_source_that_begins_long_after_what_is_stored_is_refused_as_another_market(worlds: Worlds) -> None:
    async with worlds.series(a_source()) as series:
        series.keeper.tell_time(at(0))
        await until(lambda: _complete(series))
    source = FakeSource()
    source.has(a_candle(400 * 1440))
    async with worlds.series(source) as series:
        series.keeper.tell_time(at(401 * 86400))
        await until(lambda: _refused(series))
        assert len(await series.stored()) == 10


async def _refused(series: Series) -> bool:
    return series.keeper.problem is not None
