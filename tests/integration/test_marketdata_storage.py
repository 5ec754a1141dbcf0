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

from services.marketdata.adapters.candles import PostgresCandles
from services.marketdata.adapters.leases import PostgresLeases
from services.marketdata.adapters.symbols import PostgresSymbols
from services.marketdata.adapters.trades import PostgresTrades
from services.marketdata.domain.market import Candle, Interval, Origin, Symbol
from services.marketdata.ports.candles import History
from services.marketdata.ports.leases import LeaseLost
from services.runtime.database import open_database
from tests.unit.marketdata.builders import BTC, FIVE, MINUTE, NOON, a_candle, a_trade, at, quiet

DAY = timedelta(days=1)
A_SYMBOL = Symbol(BTC, "BTC", "USDT", "simex", "BTC/USDT", Decimal("0.01"), Decimal("0.01"), Decimal(5))


@dataclass(frozen=True)
class Database:
    """A database of marketdata and the store on it."""

    engine: AsyncEngine
    store: PostgresCandles
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
        yield Database(engine, PostgresCandles(engine), PostgresTrades(engine))


async def live_series(store: PostgresCandles, interval: Interval = MINUTE) -> History:
    """A series of which everything from noon on is streamed."""
    history = History(NOON - DAY, NOON, NOON)
    await store.put_history(BTC, interval, history, None)
    return history


async def test_numbers_and_times_come_back_exactly(database: Database) -> None:
    trade = a_trade(1, 0.123456, "60123.12345678", "0.00000001")
    stored = await database.trades.add([trade], None)
    (read,) = await database.trades.after(BTC, 0, 10)
    assert [(read, read.receive_time, read.sequence)] == [(trade, trade.receive_time, 1)]
    assert stored.new == [trade]

    await live_series(database.store)
    candle = replace(a_candle(0), volume=Decimal("12345678901234567890.12345678"))
    await database.store.add([candle], None, None)
    assert await database.store.newest_candles(BTC, MINUTE, 1) == [candle]
    assert await database.store.newest_candles(BTC, MINUTE, 1, candle.open_time) == []
    assert await database.store.newest_candles(BTC, MINUTE, 9, candle.close_time) == [candle]


async def test_what_is_stored_spreads_over_partitions_and_old_ones_are_dropped(database: Database) -> None:
    await live_series(database.store)
    await database.trades.add([a_trade(1, 0), a_trade(2, 3 * 86400), a_trade(3, 86400)], None)
    await database.store.add([a_candle(0), a_candle(40 * 24 * 60)], None, None)
    days = ["trades_20240305", "trades_20240306", "trades_20240308"]
    assert await database.partitions("trades") == days
    assert await database.partitions("candles") == ["candles_20240301", "candles_20240401"]

    await database.trades.drop_expired(datetime.fromisoformat("2024-03-08T00:00Z"))
    await database.store.drop_expired(NOON + 30 * DAY, {MINUTE: 0 * DAY})

    assert await database.partitions("trades") == ["trades_20240308"]
    assert await database.partitions("candles") == ["candles_20240401"]
    assert (await database.trades.add([a_trade(1, 0)], None)).new == [a_trade(1, 0)]


async def test_writers_that_need_the_same_new_partition_at_once_both_succeed(database: Database) -> None:
    for interval in (MINUTE, FIVE):
        await live_series(database.store, interval)
    other = PostgresCandles(database.engine)
    await asyncio.gather(
        database.store.add([a_candle(0)], None, None),
        other.add([replace(a_candle(0), interval=FIVE)], None, None),
    )
    for interval in (MINUTE, FIVE):
        assert len(await database.store.newest_candles(BTC, interval, 10)) == 1


async def test_only_candles_of_the_live_part_get_a_place_in_the_line(database: Database) -> None:
    await live_series(database.store)
    added = await database.store.add([a_candle(minute) for minute in range(-2, 3)], None, None)
    assert [candle.sequence for candle in added] == [0, 0, 1, 2, 3]
    line = await database.store.in_line(BTC, MINUTE, 1, 10)
    assert [(candle.open_time, candle.sequence) for candle in line] == [(at(60), 2), (at(120), 3)]


async def test_a_candle_that_is_stored_again_gets_another_place_only_if_it_differs(database: Database) -> None:
    await live_series(database.store)
    await database.store.add([a_candle(0)], None, None)
    assert await database.store.add([a_candle(0, origin=Origin.TRADES)], None, None) == []
    (upgraded,) = await database.store.newest_candles(BTC, MINUTE, 10)
    assert (upgraded.origin, upgraded.revision, upgraded.sequence) == (Origin.TRADES, 0, 1)

    (corrected,) = await database.store.add([quiet(0)], None, None)
    assert (corrected, corrected.revision, corrected.sequence) == (quiet(0), 1, 2)
    assert await database.store.newest_candles(BTC, MINUTE, 10) == [quiet(0)]
    line = await database.store.in_line(BTC, MINUTE, 0, 10)
    assert [(candle, candle.revision) for candle in line] == [(a_candle(0), 0), (quiet(0), 1)]
    assert await database.store.add([a_candle(0), a_candle(1)], None, None, replace=False) == [a_candle(1)]


async def test_longer_candles_follow_their_parts_at_once(database: Database) -> None:
    await live_series(database.store, FIVE)
    parts = [replace(a_candle(5 * number), interval=FIVE, close=Decimal(100)) for number in range(12)]
    first = await database.store.add(parts[:2], None, None)
    assert [candle.interval for candle in first] == [FIVE, FIVE]

    rest = [candle for candle in await database.store.add(parts[2:], None, None) if candle.interval is not FIVE]
    assert [(candle.interval, candle.open_time, candle.volume, candle.sequence) for candle in rest] == [
        *((Interval.FIFTEEN_MINUTES, at(900 * number), Decimal(3), number + 1) for number in range(4)),
        (Interval.ONE_HOUR, at(0), Decimal(12), 1),
    ]

    higher = replace(parts[4], high=Decimal(107), volume=Decimal(2))
    corrected = await database.store.add([higher], None, None)
    assert [(each.interval, each.high, each.volume, each.revision, each.sequence) for each in corrected] == [
        (FIVE, Decimal(107), Decimal(2), 1, 13),
        (Interval.FIFTEEN_MINUTES, Decimal(107), Decimal(4), 1, 5),
        (Interval.ONE_HOUR, Decimal(107), Decimal(13), 1, 2),
    ]


async def test_a_leader_that_was_replaced_stores_no_candle(database: Database) -> None:
    leases = PostgresLeases(database.engine, 0.0)
    old = await leases.acquire("simex", "one")
    assert old is not None
    await live_series(database.store)
    assert await leases.acquire("simex", "another") is not None
    with pytest.raises(LeaseLost):
        await database.store.add([a_candle(0)], None, old)
    assert await database.store.newest_candles(BTC, MINUTE, 10) == []


async def test_candles_from_stored_trades_do_not_depend_on_the_order_in_which_they_were_stored(
    database: Database,
) -> None:
    trades = [a_trade(number, seconds, price) for number, seconds, price in [(9, 5, "3"), (10, 5, "4"), (11, 61, "5")]]
    await database.trades.add([trades[2], trades[1]], None)
    await database.trades.add([trades[0]], None)
    assert await database.store.built(BTC, MINUTE, at(0), at(120)) == [
        a_candle(0, ("3", "4", "3", "4"), "2"),
        a_candle(1, ("5", "5", "5", "5"), "1"),
    ]


async def test_short_candles_are_dropped_sooner_than_long_ones(database: Database) -> None:
    await live_series(database.store)
    await live_series(database.store, FIVE)
    await database.store.add([a_candle(0), a_candle(60)], None, None)
    await database.store.add([replace(a_candle(0), interval=FIVE)], None, None)
    await PostgresSymbols(database.engine).add(A_SYMBOL)
    await database.store.delete_expired("simex", at(2 * 3600), {MINUTE: timedelta(hours=1), FIVE: DAY})
    await database.store.delete_expired("another", at(3 * 3600), {MINUTE: timedelta(hours=1), FIVE: timedelta()})
    assert await database.store.newest_candles(BTC, MINUTE, 10) == [a_candle(60)]
    assert len(await database.store.newest_candles(BTC, FIVE, 10)) == 1


async def test_candles_and_what_is_known_of_their_series_are_written_together_or_not_at_all(database: Database) -> None:
    history = await live_series(database.store)
    impossible: Candle = replace(a_candle(1), high=Decimal(1))
    with pytest.raises(Exception, match="check constraint"):
        await database.store.add([a_candle(0), impossible], replace(history, next_open=at(120)), None)
    assert await database.store.history(BTC, MINUTE) == history
    assert await database.store.newest_candles(BTC, MINUTE, 10) == []


async def test_a_reader_who_goes_away_leaves_nothing_half_read_behind(database_url: Callable[[str], str]) -> None:
    async with open_database(SecretStr(database_url("marketdata")), pool_size=1) as engine:
        store = PostgresCandles(engine)
        await live_series(store)
        candles = [a_candle(minute) for minute in range(100)]
        await store.add(candles, None, None)
        for steps in range(40):
            reading = asyncio.create_task(store.newest_candles(BTC, MINUTE, 100))
            for _ in range(steps):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            assert await store.newest_candles(BTC, MINUTE, 2) == candles[-2:]
