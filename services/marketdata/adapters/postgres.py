"""The store on PostgreSQL: tables partitioned by time, filled by COPY."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.marketdata.adapters import statements
from services.marketdata.adapters.symbols import PostgresSymbols
from services.marketdata.domain.market import Candle, Interval, Origin, Symbol, TakerSide, Trade
from services.marketdata.ports.store import History

_PUBLISHED_AT_ONCE = 500
_TRADES, _CANDLES = ("trades", "day"), ("candles", "month")


class PostgresStore:
    """Implements Store. One process writes at a time: it remembers which partitions there are."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._symbols = PostgresSymbols(engine)
        self._partitions: dict[tuple[str, str], set[tuple[int, ...]]] = {_TRADES: set(), _CANDLES: set()}

    async def symbols(self) -> list[Symbol]:
        return await self._symbols.symbols()

    async def put_symbols(self, symbols: Sequence[Symbol]) -> None:
        await self._symbols.put_reported(symbols)

    async def add_trades(self, trades: Sequence[Trade]) -> list[Trade]:
        await self._make_partitions(_TRADES, [trade.trade_time for trade in trades])
        async with self._engine.begin() as connection:
            await connection.execute(text(statements.INCOMING_TRADES))
            await _copy(connection, "incoming_trades", map(_trade_record, trades))
            added = await connection.execute(text(statements.ADD_TRADES))
            new = {(symbol, trade_id) for symbol, trade_id in added}
        stored = []
        for trade in trades:
            key = (trade.symbol, trade.trade_id)
            if key in new:
                new.remove(key)
                stored.append(trade)
        return stored

    async def newest_trades(self, symbol: str) -> list[Trade]:
        rows = await self._rows(statements.NEWEST_TRADES, symbol=symbol)
        return [_trade(row) for row in rows]

    async def history(self, symbol: str, interval: Interval) -> History | None:
        rows = await self._rows(statements.HISTORY, symbol=symbol, interval=interval.value)
        return History(*rows[0]) if rows else None

    async def put_history(self, symbol: str, interval: Interval, history: History) -> None:
        async with self._engine.begin() as connection:
            await _put_history(connection, symbol, interval, history)

    async def add_candles(self, candles: Sequence[Candle], history: History | None) -> None:
        await self._make_partitions(_CANDLES, [candle.open_time for candle in candles])
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

    async def drop_expired(self, trades_before: datetime, candles_before: datetime) -> None:
        for (parent, unit), before in ((_TRADES, trades_before), (_CANDLES, candles_before)):
            async with self._engine.begin() as connection:
                await connection.execute(
                    text(statements.DROP_PARTITIONS), {"parent": parent, "unit": unit, "before": before}
                )
            self._partitions[parent, unit].clear()

    async def _rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        async with self._engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(statement), parameters)]

    async def _make_partitions(self, table: tuple[str, str], times: Sequence[datetime]) -> None:
        known = self._partitions[table]
        parent, unit = table
        keys = {time.timetuple()[: 3 if unit == "day" else 2] for time in times}
        if keys <= known:
            return
        async with self._engine.begin() as connection:
            await connection.execute(
                text(statements.ADD_PARTITIONS),
                {"parent": parent, "unit": unit, "first": min(times), "last": max(times)},
            )
        known |= keys


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


def _trade_record(trade: Trade) -> tuple[Any, ...]:
    return (
        trade.symbol,
        trade.trade_id,
        trade.price,
        trade.quantity,
        trade.taker_side.value,
        trade.trade_time,
        trade.receive_time,
    )


def _trade(row: tuple[Any, ...]) -> Trade:
    symbol, trade_id, price, quantity, taker_side, trade_time, receive_time = row
    return Trade(symbol, trade_id, price, quantity, TakerSide(taker_side), trade_time, receive_time)


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
