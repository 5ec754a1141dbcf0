"""Candles in PostgreSQL: partitions by month."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple
from dataclasses import replace as changed
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.marketdata.adapters import candle_statements as statements
from services.marketdata.adapters import leases, lines
from services.marketdata.adapters.partitions import Partitions
from services.marketdata.domain.market import Candle, Interval, Origin
from services.marketdata.domain.roll_up import PART, ROLLED_UP, roll_up
from services.marketdata.domain.series import revised
from services.marketdata.ports.candles import History, candles_line
from services.marketdata.ports.leases import Lease

_ORIGINS = {origin.value: origin for origin in Origin}
_LINE_KEPT = 1_000
"""How many published candles of a line are kept, for a Redis that has lost its newest ones."""


class PostgresCandles:
    """Implements CandleStore and Partitioned.

    The line of a series is locked while its candles are stored, so writers of the same series take turns.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._candle_partitions = Partitions(engine, "candles", "month")

    async def history(self, symbol: str, interval: Interval) -> History | None:
        async with self._engine.connect() as connection:
            return await _history(connection, symbol, interval)

    async def put_history(self, symbol: str, interval: Interval, history: History, lease: Lease | None) -> None:
        async with self._engine.begin() as connection:
            await leases.require(connection, lease)
            await _put_history(connection, symbol, interval, history)

    async def add(
        self, candles: Sequence[Candle], history: History | None, lease: Lease | None, *, replace: bool = True
    ) -> list[Candle]:
        await self._make_partitions(candles)
        symbol, interval = candles[0].symbol, candles[0].interval
        try:
            async with self._engine.begin() as connection:
                await leases.require(connection, lease)
                if history is not None:
                    await _put_history(connection, symbol, interval, history)
                else:
                    history = await _history(connection, symbol, interval)
                live_from = None if history is None else history.live_from
                added = await _put(connection, candles, _is_live(live_from, interval), replace=replace)
                if added and interval is PART:
                    added += await _roll_up(connection, added, live_from)
                return added
        except DBAPIError:
            # Perhaps a partition is missing that another replica has dropped.
            self._candle_partitions.forget()
            raise

    async def built(self, symbol: str, interval: Interval, start: datetime, end: datetime) -> list[Candle]:
        rows = await self._rows(statements.BUILT, symbol=symbol, interval=interval.value, start=start, end=end)
        return [_built_candle(symbol, interval, row) for row in rows]

    async def built_before(self, symbol: str, interval: Interval, end: datetime) -> Candle | None:
        rows = await self._rows(statements.LAST_TRADE, symbol=symbol, end=end)
        if not rows:
            return None
        trade_time, price = rows[0]
        return Candle(symbol, interval, trade_time, price, price, price, price, Decimal(0), Origin.TRADES)

    async def in_line(self, symbol: str, interval: Interval, after: int, limit: int) -> list[Candle]:
        rows = await self._rows(statements.IN_LINE, symbol=symbol, interval=interval.value, after=after, limit=limit)
        return [_candle(row) for row in rows]

    async def candles(
        self, symbol: str, interval: Interval, start: datetime | None, end: datetime | None, limit: int
    ) -> list[Candle]:
        return await self._read(symbol, interval, statements.CANDLES, start, end, limit)

    async def newest_candles(
        self, symbol: str, interval: Interval, limit: int, end: datetime | None = None
    ) -> list[Candle]:
        if end is None:
            return (await self._read(symbol, interval, statements.NEWEST, limit))[::-1]
        return (await self._read(symbol, interval, statements.NEWEST_BEFORE, end, limit))[::-1]

    async def prepare(self, times: Iterable[datetime]) -> None:
        await self._candle_partitions.make_for(times)

    async def drop_expired(self, now: datetime, kept: Mapping[Interval, timedelta]) -> None:
        await self._candle_partitions.drop(now - max(kept.values()))
        async with self._engine.begin() as connection:
            await connection.execute(text(statements.SHORTEN_LINES), {"kept": _LINE_KEPT})

    async def delete_expired(self, source: str, now: datetime, kept: Mapping[Interval, timedelta]) -> None:
        for interval, age in kept.items():
            values = {"source": source, "interval": interval.value, "before": now - age}
            async with self._engine.begin() as connection:
                await connection.execute(text(statements.DELETE), values)

    async def _make_partitions(self, candles: Sequence[Candle]) -> None:
        times = [candle.open_time for candle in candles]
        if candles[0].interval is PART:
            times.append(Interval.ONE_DAY.floor(min(times)))
        await self._candle_partitions.make_for(times)

    async def _read(self, symbol: str, interval: Interval, statement: str, *parameters: Any) -> list[Candle]:
        """By the driver itself, which takes half the time."""
        async with self._engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            async with driver.transaction():
                await driver.execute(statements.PLAN_ONCE)
                rows = await driver.fetch(statement, symbol, interval.value, *parameters)
        return [
            Candle(symbol, interval, open_time, first, high, low, last, volume, _ORIGINS[origin], revision, sequence)
            for open_time, first, high, low, last, volume, origin, revision, sequence in rows
        ]

    async def _rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        async with self._engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(statement), parameters)]


def _is_live(live_from: datetime | None, part: Interval) -> Callable[[Candle], bool]:
    """Whether a candle gets a place in its line: its last part is streamed, or it is a correction."""

    def is_live(candle: Candle) -> bool:
        return live_from is not None and (candle.revision > 0 or candle.close_time - part.length >= live_from)

    return is_live


async def _roll_up(connection: AsyncConnection, parts: Sequence[Candle], live_from: datetime | None) -> list[Candle]:
    """Store the longer candles of which ``parts`` are parts, where all of them are there."""
    symbol = parts[0].symbol
    times = [part.open_time for part in parts]
    first, last = Interval.ONE_DAY.floor(min(times)), Interval.ONE_DAY.floor(max(times)) + Interval.ONE_DAY.length
    stored = await _stored(connection, symbol, PART, first, last - PART.length)
    added: list[Candle] = []
    for interval in ROLLED_UP:
        opens = {interval.floor(time) for time in times}
        whole = [candle for candle in roll_up(stored, interval) if candle.open_time in opens]
        if whole:
            added += await _put(connection, whole, _is_live(live_from, PART))
    return added


async def _put(
    connection: AsyncConnection, candles: Sequence[Candle], is_live: Callable[[Candle], bool], *, replace: bool = True
) -> list[Candle]:
    symbol, interval = candles[0].symbol, candles[0].interval
    line = candles_line(symbol, interval)
    end = (await lines.lock(connection, [line]))[line]
    times = [candle.open_time for candle in candles]
    before = {each.open_time: each for each in await _stored(connection, symbol, interval, min(times), max(times))}
    if not replace:
        candles = [candle for candle in candles if candle.open_time not in before]
    written, added, last = [], [], end.last_sequence
    for candle in candles:
        known = before.get(candle.open_time)
        revision = revised(known, candle)
        if known is None or revision.revision > known.revision:
            last += is_live(revision)
            revision = changed(revision, sequence=last if is_live(revision) else 0)
            added.append(revision)
        if known is None or known.origin is not revision.origin or revision.revision > known.revision:
            written.append(revision)
    if written:
        await connection.execute(text(statements.ADD), {**_columns(written), "after": end.last_sequence})
    if last > end.last_sequence:
        await lines.advance(connection, {line: lines.End(last, end.newest_number)})
    return added


async def _stored(
    connection: AsyncConnection, symbol: str, interval: Interval, first: datetime, last: datetime
) -> list[Candle]:
    values = {"symbol": symbol, "interval": interval.value, "first": first, "last": last}
    return [_candle(row) for row in await connection.execute(text(statements.STORED), values)]


async def _history(connection: AsyncConnection, symbol: str, interval: Interval) -> History | None:
    values = {"symbol": symbol, "interval": interval.value}
    row = (await connection.execute(text(statements.HISTORY), values)).first()
    return None if row is None else History(*row)


async def _put_history(connection: AsyncConnection, symbol: str, interval: Interval, history: History) -> None:
    start_time, next_open, live_from = astuple(history)
    values = {"start_time": start_time, "next_open": next_open, "live_from": live_from}
    await connection.execute(text(statements.PUT_HISTORY), {"symbol": symbol, "interval": interval.value, **values})


def _columns(candles: Sequence[Candle]) -> dict[str, Any]:
    return {
        "symbol": candles[0].symbol,
        "interval": candles[0].interval.value,
        "sequences": [candle.sequence for candle in candles],
        "open_times": [candle.open_time for candle in candles],
        "opens": [candle.open for candle in candles],
        "highs": [candle.high for candle in candles],
        "lows": [candle.low for candle in candles],
        "closes": [candle.close for candle in candles],
        "volumes": [candle.volume for candle in candles],
        "origins": [candle.origin.value for candle in candles],
        "revisions": [candle.revision for candle in candles],
    }


def _candle(row: Any) -> Candle:
    symbol, seconds, sequence, open_time, first, high, low, close, volume, origin, revision = row
    prices = (first, high, low, close)
    return Candle(symbol, Interval(seconds), open_time, *prices, volume, Origin(origin), revision, sequence)


def _built_candle(symbol: str, interval: Interval, row: tuple[Any, ...]) -> Candle:
    open_time, first, high, low, last, volume = row
    return Candle(symbol, interval, open_time, first, high, low, last, volume, Origin.TRADES)
