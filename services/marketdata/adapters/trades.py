"""Trades in PostgreSQL: partitions by day, filled by COPY."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.marketdata.adapters import copy_encoding as encode
from services.marketdata.adapters import leases, lines
from services.marketdata.adapters.partitions import Partitions
from services.marketdata.domain.market import TakerSide, Trade
from services.marketdata.ports.leases import Lease
from services.marketdata.ports.lines import trades_line
from services.marketdata.ports.trades import Stored

_COLUMNS = ("symbol", "trade_id", "price", "quantity", "taker_side", "trade_time", "receive_time", "sequence")

_FIELDS = attrgetter("symbol", "trade_id", "price", "quantity", "taker_side", "trade_time", "receive_time")

_CHUNK = 1_000
"""How many trades are encoded at once, while PostgreSQL stores those before."""

_KNOWN = """
SELECT trades.symbol, trade_id, price, quantity, taker_side, trade_time, receive_time, sequence
FROM unnest(CAST(:symbols AS text[]), CAST(:firsts AS timestamptz[]), CAST(:lasts AS timestamptz[]))
    AS span (symbol, first, last)
JOIN marketdata.trades ON trades.symbol = span.symbol AND trades.trade_time BETWEEN span.first AND span.last
WHERE trades.trade_id = ANY(:ids)
"""

_AFTER = """
SELECT symbol, trade_id, price, quantity, taker_side, trade_time, receive_time, sequence
FROM marketdata.trades WHERE symbol = :symbol AND sequence > :sequence ORDER BY sequence LIMIT :limit
"""

_DELETE = """
DELETE FROM marketdata.trades USING marketdata.symbols
WHERE symbols.source = :source AND trades.symbol = symbols.symbol AND trade_time < :before
"""

_SAME = timedelta(seconds=1)
"""Within this of each other, two trades with one id are the same."""
_APART = timedelta(seconds=10)
"""Trades that are farther apart are looked for one by one, not in one span of time."""
_LARGEST_NUMBER = 2**63 - 1


class PostgresTrades:
    """Implements TradeStore and Partitioned.

    The line of a symbol is locked while its trades are stored, so writers of the same symbol take turns. What has a
    higher number than all that is stored is new for sure, and goes by COPY at once; for the rest the store is searched.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._partitions = Partitions(engine, "trades", "day")

    async def add(self, trades: Sequence[Trade], lease: Lease | None) -> Stored:
        await self._partitions.make_for(trade.trade_time for trade in trades)
        try:
            async with self._engine.begin() as connection:
                await leases.require(connection, lease)
                ends = await lines.lock(connection, map(trades_line, {trade.symbol for trade in trades}))
                doubtful = _look_through(trades, ends)
                stored = judge(trades, await _known(connection, doubtful)) if doubtful else Stored([*trades], 0, [])
                new = await _append(connection, stored.new, ends)
                await lines.advance(connection, ends)
                return replace(stored, new=new)
        except asyncpg.PostgresError:
            # Perhaps a partition is missing that another replica has dropped.
            self._partitions.forget()
            raise

    async def after(self, symbol: str, sequence: int, limit: int) -> list[Trade]:
        values = {"symbol": symbol, "sequence": sequence, "limit": limit}
        async with self._engine.connect() as connection:
            return [_trade(row) for row in await connection.execute(text(_AFTER), values)]

    async def prepare(self, times: Iterable[datetime]) -> None:
        await self._partitions.make_for(times)

    async def drop_expired(self, before: datetime) -> None:
        await self._partitions.drop(before)

    async def delete_expired(self, source: str, before: datetime) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(text(_DELETE), {"source": source, "before": before})


def judge(trades: Iterable[Trade], known: Iterable[Trade]) -> Stored:
    """What becomes of ``trades`` when ``known`` are the stored ones that have their ids."""
    by_id: dict[tuple[str, str], list[Trade]] = {}
    for trade in known:
        by_id.setdefault((trade.symbol, trade.trade_id), []).append(trade)
    stored = Stored([], 0, [])
    known_before = 0
    for trade in trades:
        others = by_id.setdefault((trade.symbol, trade.trade_id), [])
        same = [other for other in others if abs(other.trade_time - trade.trade_time) <= _SAME]
        if trade in same:
            known_before += 1
        elif same:
            stored.conflicts.append(trade)
        else:
            stored.new.append(trade)
            others.append(trade)
    return replace(stored, known=known_before)


def _look_through(trades: Iterable[Trade], ends: dict[str, lines.End]) -> list[Trade]:
    """The trades that may be stored already, by their numbers; the others raise the newest ones of their ``ends``."""
    newest = {line: -1 if end.newest_number is None else end.newest_number for line, end in ends.items()}
    line_of = {line.removeprefix(trades_line("")): line for line in ends}
    doubtful = []
    for trade in trades:
        line, number = line_of[trade.symbol], trade.number
        if number is None or not newest[line] < number <= _LARGEST_NUMBER:
            doubtful.append(trade)
        else:
            newest[line] = number
    for line, number in newest.items():
        if number >= 0:
            ends[line] = replace(ends[line], newest_number=number)
    return doubtful


async def _known(connection: AsyncConnection, trades: Sequence[Trade]) -> list[Trade]:
    """The stored trades that have the ids of ``trades``, around their times."""
    spans: list[tuple[str, datetime, datetime]] = []
    for trade in sorted(trades, key=lambda each: (each.symbol, each.trade_time)):
        first, last = trade.trade_time - _SAME, trade.trade_time + _SAME
        if spans and spans[-1][0] == trade.symbol and first - spans[-1][2] < _APART:
            spans[-1] = trade.symbol, spans[-1][1], last
        else:
            spans.append((trade.symbol, first, last))
    symbols, firsts, lasts = zip(*spans, strict=True)
    values = {"symbols": symbols, "firsts": firsts, "lasts": lasts, "ids": [trade.trade_id for trade in trades]}
    rows = await connection.execute(text(_KNOWN), values)
    return [_trade(row) for row in rows]


async def _append(connection: AsyncConnection, trades: Sequence[Trade], ends: dict[str, lines.End]) -> list[Trade]:
    """Number ``trades`` behind ``ends``, which move, and store them."""
    if not trades:
        return []
    lasts = {line.removeprefix(trades_line("")): end.last_sequence for line, end in ends.items()}
    numbered: list[Trade] = []

    async def encoded() -> AsyncIterator[bytes]:
        yield encode.HEADER
        for start in range(0, len(trades), _CHUNK):
            if start:
                # What else there is to do has its turn; a small batch does not wait for it.
                await asyncio.sleep(0)
            part, rows = _encode(trades[start : start + _CHUNK], lasts)
            numbered.extend(part)
            yield rows
        yield encode.TRAILER

    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.copy_to_table("trades", schema_name="marketdata", columns=_COLUMNS, source=encoded(), format="binary")
    for symbol, last in lasts.items():
        line = trades_line(symbol)
        ends[line] = replace(ends[line], last_sequence=last)
    return numbered


def _encode(trades: Sequence[Trade], lasts: dict[str, int]) -> tuple[list[Trade], bytes]:
    """The trades with the numbers that follow ``lasts``, which move, and their rows."""
    symbols, ids, prices, quantities, sides, times, received = zip(*map(_FIELDS, trades), strict=True)
    sequences = []
    for symbol in symbols:
        lasts[symbol] = sequence = lasts[symbol] + 1
        sequences.append(sequence)
    rows = encode.rows(
        encode.repeated_texts(symbols),
        encode.texts(ids),
        encode.numerics(prices),
        encode.numerics(quantities),
        encode.repeated_texts([side.value for side in sides]),
        encode.timestamps(times),
        encode.timestamps(received),
        encode.bigints(sequences),
    )
    return list(map(Trade, symbols, ids, prices, quantities, sides, times, received, sequences)), rows


def _trade(row: Any) -> Trade:
    symbol, trade_id, price, quantity, taker_side, trade_time, receive_time, sequence = row
    return Trade(symbol, trade_id, price, quantity, TakerSide(taker_side), trade_time, receive_time, sequence)
