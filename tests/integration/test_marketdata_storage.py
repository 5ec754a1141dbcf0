"""Trades and candles in PostgreSQL: written once, in partitions, and published after they are stored."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.marketdata.adapters.postgres import PostgresStore
from services.marketdata.adapters.trades import PostgresTrades
from services.marketdata.domain.market import Candle, Interval, Origin, Trade
from services.marketdata.ports.store import History
from services.runtime.database import open_database
from tests.unit.marketdata.builders import BTC, FIVE, MINUTE, NOON, a_candle, a_trade, at, quiet

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Database:
    """A database of marketdata and the store on it."""

    engine: AsyncEngine
    store: PostgresStore
    trades: PostgresTrades

    async def partitions(self, table: str) -> list[str]:
        """The names of a table's partitions."""
        async with self.engine.connect() as connection:
            rows = await connection.execute(
                text(
                    "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
                    " WHERE inhparent = CAST(:table AS regclass) ORDER BY relname"
                ),
                {"table": f"marketdata.{table}"},
            )
            return [str(name) for (name,) in rows]


@pytest.fixture
async def database(database_url: Callable[[str], str]) -> AsyncIterator[Database]:
    async with open_database(SecretStr(database_url("marketdata"))) as engine:
        yield Database(engine, PostgresStore(engine), PostgresTrades(engine))


async def live_series(store: PostgresStore, interval: Interval = MINUTE) -> History:
    """A series of which everything from noon on is streamed."""
    history = History(NOON - DAY, NOON, NOON)
    await store.put_history(BTC, interval, history)
    return history


async def test_numbers_and_times_come_back_exactly(database: Database) -> None:
    trade = a_trade(1, 0.123456, "60123.12345678", "0.00000001")
    stored = await database.trades.add([trade], None)
    (read,) = await database.trades.after(BTC, 0, 10)
    assert [(read, read.receive_time, read.sequence)] == [(trade, trade.receive_time, 1)]
    assert stored.new == [trade]

    await live_series(database.store)
    candle = replace(a_candle(0), volume=Decimal("12345678901234567890.12345678"))
    await database.store.add_candles([candle], None)
    assert await database.store.newest_candles(BTC, MINUTE, 1) == [candle]


async def test_what_is_stored_spreads_over_partitions_and_old_ones_are_dropped(database: Database) -> None:
    await live_series(database.store)
    await database.trades.add([a_trade(1, 0), a_trade(2, 3 * 86400), a_trade(3, 86400)], None)
    await database.store.add_candles([a_candle(0), a_candle(40 * 24 * 60)], None)
    days = ["trades_20240305", "trades_20240306", "trades_20240308"]
    assert await database.partitions("trades") == days
    assert await database.partitions("candles") == ["candles_20240301", "candles_20240401"]

    await database.trades.drop_expired(datetime.fromisoformat("2024-03-08T00:00Z"))
    await database.store.drop_expired(NOON + 30 * DAY)

    assert await database.partitions("trades") == ["trades_20240308"]
    assert await database.partitions("candles") == ["candles_20240401"]
    assert (await database.trades.add([a_trade(1, 0)], None)).new == [a_trade(1, 0)]


async def test_writers_that_need_the_same_new_partition_at_once_both_succeed(database: Database) -> None:
    for interval in (MINUTE, FIVE):
        await live_series(database.store, interval)
    other = PostgresStore(database.engine)
    await asyncio.gather(
        database.store.add_candles([a_candle(0)], None),
        other.add_candles([replace(a_candle(0), interval=FIVE)], None),
    )
    for interval in (MINUTE, FIVE):
        assert len(await database.store.newest_candles(BTC, interval, 10)) == 1


async def test_only_candles_of_the_live_part_wait_to_be_published_and_each_until_it_is(database: Database) -> None:
    await live_series(database.store)
    await database.store.add_candles([a_candle(minute) for minute in range(-2, 3)], None)
    waiting = await database.store.unpublished(BTC, MINUTE)
    assert [candle.open_time for candle in waiting] == [at(0), at(60), at(120)]

    await database.store.mark_published(waiting[:2])
    assert await database.store.unpublished(BTC, MINUTE) == waiting[2:]


async def test_a_candle_that_is_stored_again_waits_to_be_published_only_if_it_differs(database: Database) -> None:
    await live_series(database.store)
    await database.store.add_candles([a_candle(0)], None)
    await database.store.mark_published([a_candle(0)])

    await database.store.add_candles([a_candle(0, origin=Origin.TRADES)], None)
    assert await database.store.unpublished(BTC, MINUTE) == []

    await database.store.add_candles([quiet(0)], None)
    assert await database.store.unpublished(BTC, MINUTE) == [quiet(0)]
    assert await database.store.newest_candles(BTC, MINUTE, 10) == [quiet(0)]


async def test_candles_and_what_is_known_of_their_series_are_written_together_or_not_at_all(database: Database) -> None:
    history = await live_series(database.store)
    impossible: Candle = replace(a_candle(1), high=Decimal(1))
    with pytest.raises(Exception, match="check constraint"):
        await database.store.add_candles([a_candle(0), impossible], replace(history, next_open=at(120)))
    assert await database.store.history(BTC, MINUTE) == history
    assert await database.store.newest_candles(BTC, MINUTE, 10) == []
