"""Partitions are there before the rows, by each source's clock, and go when all their rows are old."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.marketdata.adapters.books import PostgresBooks
from services.marketdata.adapters.leases import PostgresLeases
from services.marketdata.adapters.partitions import Partitions
from services.marketdata.domain.market import Interval, Symbol
from services.marketdata.domain.source_status import SourceState, SourceStatus
from services.marketdata.keeping.retention import drop_expired, make_ahead
from services.marketdata.stores import Stores
from services.runtime.database import open_database
from tests.marketdata import until
from tests.unit.marketdata.builders import a_trade

EVENING = datetime(2024, 3, 31, 23, 30, tzinfo=UTC)
NAMES = ["fast", "slow"]
ONE = Decimal(1)


@dataclass(frozen=True)
class Database:
    """A database of marketdata whose sources have clocks that a test sets."""

    engine: AsyncEngine
    stores: Stores

    async def clock_of(self, source: str, shows: datetime | None) -> None:
        lease = await PostgresLeases(self.engine, 0.0).acquire(source, "me")
        assert lease is not None
        await self.stores.states.put(SourceStatus(SourceState.LIVE, source_time=shows), lease)

    async def partitions(self, table: str) -> list[str]:
        """The dates of a table's partitions."""
        statement = (
            "SELECT right(relname, 8) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            " WHERE inhparent = CAST(:table AS regclass) ORDER BY 1"
        )
        async with self.engine.connect() as connection:
            return list((await connection.execute(text(statement), {"table": f"marketdata.{table}"})).scalars())

    async def has(self, table: str, *dates: str) -> None:
        """Wait until the partitions of a table are those of these dates."""

        async def they_are() -> bool:
            return await self.partitions(table) == list(dates)

        await until(they_are)


@pytest.fixture
async def database(database_url: Callable[[str], str]) -> AsyncIterator[Database]:
    async with open_database(SecretStr(database_url("marketdata"))) as engine:
        yield Database(engine, Stores.on(engine))


@asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_the_partitions_of_the_next_day_are_made_before_it_by_each_sources_clock(database: Database) -> None:
    await database.clock_of("fast", EVENING)
    await database.clock_of("slow", EVENING - timedelta(days=9))
    await database.clock_of("another", EVENING + timedelta(days=300))
    stores = database.stores
    async with running(
        make_ahead(NAMES, stores.states, (stores.trades, stores.candles, PostgresBooks(database.engine)))
    ):
        for table in ("trades", "book_snapshots", "book_deltas"):
            await database.has(table, "20240322", "20240323", "20240331", "20240401")
        await database.has("candles", "20240301", "20240401")


async def test_what_no_source_keeps_any_more_is_dropped_from_each_table_by_its_own_age(database: Database) -> None:
    await database.clock_of("fast", EVENING)
    await database.clock_of("slow", EVENING - timedelta(days=1))
    stores = database.stores
    await stores.trades.prepare(EVENING - timedelta(days=age) for age in range(10))
    await stores.candles.prepare(EVENING - timedelta(days=age) for age in range(0, 120, 10))
    kept = {Interval.ONE_MINUTE: timedelta(days=30), Interval.ONE_DAY: timedelta(days=60)}
    async with running(drop_expired(NAMES, stores.states, stores.trades, stores.candles, timedelta(days=2), kept)):
        await database.has("trades", "20240328", "20240329", "20240330", "20240331")
        await database.has("candles", "20240101", "20240201", "20240301")


async def test_a_source_whose_clock_stands_keeps_its_own_rows_and_no_others(database: Database) -> None:
    await database.clock_of("fast", EVENING)
    await database.clock_of("slow", EVENING - timedelta(days=300))
    stores = database.stores
    for source in NAMES:
        await stores.symbols.add(Symbol(f"A-B@{source}", "A", "B", source, "A/B", ONE, ONE, ONE))
    long_ago = EVENING - timedelta(days=300)
    for moment, source in ((long_ago, "fast"), (EVENING, "fast"), (long_ago, "slow")):
        trade = replace(a_trade(1, 0), symbol=f"A-B@{source}", trade_time=moment)
        await stores.trades.add([trade], None)

    async def kept() -> list[tuple[str, datetime]]:
        trades = [trade for source in NAMES for trade in await stores.trades.after(f"A-B@{source}", 0, 10)]
        return [(trade.symbol, trade.trade_time) for trade in trades]

    async def only_the_old_one_of_fast_is_gone() -> bool:
        return await kept() == [("A-B@fast", EVENING), ("A-B@slow", long_ago)]

    ages = {Interval.ONE_MINUTE: timedelta(days=30), Interval.ONE_DAY: timedelta(days=60)}
    async with running(drop_expired(NAMES, stores.states, stores.trades, stores.candles, timedelta(days=2), ages)):
        await until(only_the_old_one_of_fast_is_gone)


async def test_only_partitions_that_rows_belong_into_are_made_however_far_apart_they_are(database: Database) -> None:
    trades = [a_trade(1, 0), a_trade(2, 200 * 86_400)]
    await database.stores.trades.add(trades, None)
    assert await database.partitions("trades") == ["20240305", "20240921"]


async def test_a_time_belongs_into_the_partition_of_its_day_in_utc(database: Database) -> None:
    new_york = timezone(timedelta(hours=-4))
    await database.stores.trades.prepare([EVENING.astimezone(new_york), datetime(2024, 3, 31, 22, tzinfo=new_york)])
    assert await database.partitions("trades") == ["20240331", "20240401"]


async def test_dropping_gives_way_to_who_reads(database: Database) -> None:
    partitions = Partitions(database.engine, "trades", "day")
    await partitions.make_for([EVENING])
    async with database.engine.connect() as reader:
        await reader.execute(text("SELECT FROM marketdata.trades"))
        with pytest.raises(DBAPIError, match="lock timeout"):
            await partitions.drop(EVENING + timedelta(days=9))
        assert await database.partitions("trades") == ["20240331"]
    await partitions.drop(EVENING + timedelta(days=9))
    assert await database.partitions("trades") == []
