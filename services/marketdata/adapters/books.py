"""Order books in PostgreSQL."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.marketdata.adapters import lines
from services.marketdata.adapters.leases import require
from services.marketdata.adapters.partitions import Partitions
from services.marketdata.domain.book import BookChange, BookDelta, BookSnapshot, Level
from services.marketdata.ports.books import books_line
from services.marketdata.ports.leases import Lease

_SNAPSHOT = """
SELECT symbol, sequence, update_id, consistent, bid_prices, bid_quantities, ask_prices, ask_quantities, event_time,
       receive_time
FROM marketdata.book_snapshots
"""

_DELTA = """
SELECT symbol, sequence, first_update_id, last_update_id, bid_prices, bid_quantities, ask_prices, ask_quantities,
       event_time, receive_time
FROM marketdata.book_deltas
"""

_NEWEST_SNAPSHOT = _SNAPSHOT + "WHERE symbol = :symbol ORDER BY sequence DESC LIMIT 1"

_SNAPSHOTS_AFTER = _SNAPSHOT + "WHERE symbol = :symbol AND sequence > :sequence ORDER BY sequence LIMIT :limit"

_DELTAS_AFTER = _DELTA + "WHERE symbol = :symbol AND sequence > :sequence ORDER BY sequence LIMIT :limit"

_SYMBOLS = """
SELECT substr(line, length(:prefix) + 1) FROM marketdata.lines WHERE starts_with(line, :prefix) ORDER BY line
"""

_UNBOUNDED = 2**31


class PostgresBooks:
    """Implements BookStore and Partitioned."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._partitions = [Partitions(engine, name, "day") for name in ("book_snapshots", "book_deltas")]

    async def add(self, events: Sequence[BookChange], lease: Lease | None) -> list[BookChange]:
        for partitions in self._partitions:
            await partitions.make_for(event.event_time for event in events)
        try:
            async with self._engine.begin() as connection:
                await require(connection, lease)
                return await _add(connection, events)
        except (DBAPIError, asyncpg.PostgresError):
            # Another replica may have dropped a partition.
            for partitions in self._partitions:
                partitions.forget()
            raise

    async def symbols(self) -> list[str]:
        async with self._engine.connect() as connection:
            names = await connection.execute(text(_SYMBOLS), {"prefix": books_line("")})
            return list(names.scalars())

    async def newest(self, symbol: str) -> list[BookChange]:
        async with self._engine.connect() as connection:
            snapshots = await connection.execute(text(_NEWEST_SNAPSHOT), {"symbol": symbol})
            found = [_snapshot(row) for row in snapshots]
            if not found:
                return []
            values = {"symbol": symbol, "sequence": found[0].sequence, "limit": _UNBOUNDED}
            return [*found, *map(_delta, await connection.execute(text(_DELTAS_AFTER), values))]

    async def after(self, symbol: str, sequence: int, limit: int) -> list[BookChange]:
        values = {"symbol": symbol, "sequence": sequence, "limit": limit}
        async with self._engine.connect() as connection:
            snapshots = map(_snapshot, await connection.execute(text(_SNAPSHOTS_AFTER), values))
            deltas = map(_delta, await connection.execute(text(_DELTAS_AFTER), values))
            events: list[BookChange] = [*snapshots, *deltas]
        return sorted(events, key=lambda event: event.sequence)[:limit]

    async def prepare(self, times: Iterable[datetime]) -> None:
        moments = list(times)
        for partitions in self._partitions:
            await partitions.make_for(moments)

    async def drop_expired(self, before: datetime) -> None:
        for partitions in self._partitions:
            await partitions.drop(before)


async def _add(connection: AsyncConnection, events: Sequence[BookChange]) -> list[BookChange]:
    numbered = await _number(connection, events)
    snapshots = [_snapshot_record(event) for event in numbered if isinstance(event, BookSnapshot)]
    deltas = [_delta_record(event) for event in numbered if isinstance(event, BookDelta)]
    await _copy(connection, "book_snapshots", snapshots)
    await _copy(connection, "book_deltas", deltas)
    return numbered


async def _number(connection: AsyncConnection, events: Sequence[BookChange]) -> list[BookChange]:
    """The events with their places in the lines of their symbols."""
    ends = await lines.lock(connection, {books_line(event.symbol) for event in events})
    numbered: list[BookChange] = []
    for event in events:
        line = books_line(event.symbol)
        sequence = ends[line].last_sequence + 1
        ends[line] = replace(ends[line], last_sequence=sequence)
        numbered.append(replace(event, sequence=sequence))
    await lines.advance(connection, ends)
    return numbered


async def _copy(connection: AsyncConnection, table: str, records: Sequence[tuple[Any, ...]]) -> None:
    if records:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.copy_records_to_table(table, schema_name="marketdata", records=records)


def _snapshot_record(event: BookSnapshot) -> tuple[Any, ...]:
    levels = (*_arrays(event.bids), *_arrays(event.asks))
    return (
        event.symbol,
        event.sequence,
        event.update_id,
        event.consistent,
        *levels,
        event.event_time,
        event.receive_time,
    )


def _delta_record(event: BookDelta) -> tuple[Any, ...]:
    levels = (*_arrays(event.bids), *_arrays(event.asks))
    numbers = (event.first_update_id, event.last_update_id)
    return (event.symbol, event.sequence, *numbers, *levels, event.event_time, event.receive_time)


def _arrays(levels: Sequence[Level]) -> tuple[list[Decimal], list[Decimal]]:
    return [level.price for level in levels], [level.quantity for level in levels]


def _snapshot(row: Sequence[Any]) -> BookSnapshot:
    symbol, sequence, update_id, consistent, *levels, event_time, receive_time = row
    bids, asks = _levels(*levels[:2]), _levels(*levels[2:])
    return BookSnapshot(symbol, update_id, bids, asks, event_time, receive_time, consistent, sequence)


def _delta(row: Sequence[Any]) -> BookDelta:
    symbol, sequence, first, last, *levels, event_time, receive_time = row
    bids, asks = _levels(*levels[:2]), _levels(*levels[2:])
    return BookDelta(symbol, first, last, bids, asks, event_time, receive_time, sequence)


def _levels(prices: Sequence[Decimal], quantities: Sequence[Decimal]) -> tuple[Level, ...]:
    return tuple(map(Level, prices, quantities))
