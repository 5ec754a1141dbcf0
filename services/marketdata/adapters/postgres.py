"""Symbols and candles on PostgreSQL, the latter partitioned by time and filled by COPY."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.marketdata.adapters import statements
from services.marketdata.adapters.partitions import Partitions
from services.marketdata.adapters.symbols import PostgresSymbols
from services.marketdata.domain.market import Candle, Interval, Origin, Symbol
from services.marketdata.ports.store import History

_PUBLISHED_AT_ONCE = 500


class PostgresStore:
    """Implements Store."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._symbols = PostgresSymbols(engine)
        self._partitions = Partitions(engine, "candles", "month")

    async def symbols(self) -> list[Symbol]:
        return await self._symbols.symbols()

    async def put_symbols(self, symbols: Sequence[Symbol]) -> None:
        await self._symbols.put_reported(symbols)

    async def history(self, symbol: str, interval: Interval) -> History | None:
        rows = await self._rows(statements.HISTORY, symbol=symbol, interval=interval.value)
        return History(*rows[0]) if rows else None

    async def put_history(self, symbol: str, interval: Interval, history: History) -> None:
        async with self._engine.begin() as connection:
            await _put_history(connection, symbol, interval, history)

    async def add_candles(self, candles: Sequence[Candle], history: History | None) -> None:
        await self._partitions.make_for(candle.open_time for candle in candles)
        symbol, interval = candles[0].symbol, candles[0].interval
        async with self._engine.begin() as connection:
            if history is not None:
                await _put_history(connection, symbol, interval, history)
            await connection.execute(text(statements.INCOMING_CANDLES))
            await _copy(connection, "incoming_candles", map(_candle_record, candles))
            await connection.execute(text(statements.ADD_CANDLES))

    async def unpublished(self, symbol: str, interval: Interval) -> list[Candle]:
        rows = await self._rows(
            statements.UNPUBLISHED, symbol=symbol, interval=interval.value, limit=_PUBLISHED_AT_ONCE
        )
        return [_candle(row) for row in rows]

    async def mark_published(self, candles: Sequence[Candle]) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(
                text(statements.MARK_PUBLISHED),
                {
                    "symbol": candles[0].symbol,
                    "interval": candles[0].interval.value,
                    "open_times": [candle.open_time for candle in candles],
                },
            )

    async def candles(
        self, symbol: str, interval: Interval, start: datetime | None, end: datetime | None, limit: int
    ) -> list[Candle]:
        rows = await self._rows(
            statements.CANDLES, symbol=symbol, interval=interval.value, start=start, end=end, limit=limit
        )
        return [_candle(row) for row in rows]

    async def newest_candles(self, symbol: str, interval: Interval, limit: int) -> list[Candle]:
        rows = await self._rows(statements.NEWEST_CANDLES, symbol=symbol, interval=interval.value, limit=limit)
        return [_candle(row) for row in reversed(rows)]

    async def drop_expired(self, before: datetime) -> None:
        await self._partitions.drop(before)

    async def _rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        async with self._engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(statement), parameters)]


async def _put_history(connection: AsyncConnection, symbol: str, interval: Interval, history: History) -> None:
    start_time, next_open, live_from = astuple(history)
    await connection.execute(
        text(statements.PUT_HISTORY),
        {
            "symbol": symbol,
            "interval": interval.value,
            "start_time": start_time,
            "next_open": next_open,
            "live_from": live_from,
        },
    )


async def _copy(connection: AsyncConnection, table: str, records: Iterable[tuple[Any, ...]]) -> None:
    """COPY into a temporary table, inside the transaction that ``connection`` is in."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.copy_records_to_table(table, records=records)


def _candle_record(candle: Candle) -> tuple[Any, ...]:
    prices = (candle.open, candle.high, candle.low, candle.close)
    return (
        candle.symbol,
        candle.interval.value,
        candle.open_time,
        *prices,
        candle.volume,
        candle.origin.value,
    )


def _candle(row: tuple[Any, ...]) -> Candle:
    symbol, seconds, open_time, first, high, low, close, volume, origin = row
    return Candle(symbol, Interval(seconds), open_time, first, high, low, close, volume, Origin(origin))
