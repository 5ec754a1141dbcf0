"""What a report on the quality of data reads, from PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.marketdata.domain.gaps import Gap
from services.marketdata.domain.market import Interval
from services.marketdata.domain.quality import CandleCount, Latency, Slice, Span
from services.marketdata.domain.quarantine import Reason
from services.marketdata.ports.gaps import GapFilter, GapStore

_TIMED = 200_000
"""About as many trades are timed at most."""

_MOST_GAPS = 1000

_NEWEST = """
SELECT open_time FROM marketdata.candles WHERE symbol = :symbol AND interval_seconds = 60
ORDER BY open_time DESC LIMIT 1
"""

_CANDLES = """
SELECT interval_seconds, count(*), count(*) FILTER (WHERE origin = 'trades'), count(*) FILTER (WHERE revision > 0)
FROM marketdata.candles
WHERE symbol = :symbol AND open_time >= :start AND open_time < :end
    AND open_time + make_interval(secs => interval_seconds) <= :end
GROUP BY interval_seconds ORDER BY interval_seconds
"""

_TRADES = """
SELECT count(*) FROM marketdata.trades WHERE symbol = :symbol AND trade_time >= :start AND trade_time < :end
"""

_LATENCY = """
SELECT percentile_cont(ARRAY[0.5, 0.9, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM receive_time - trade_time))
FROM marketdata.trades
WHERE symbol = :symbol AND trade_time >= :start AND trade_time < :end AND sequence % :every = 0
"""

_TRADE_SLICES = """
SELECT date_bin(:length, trade_time, :start), count(*),
    percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM receive_time - trade_time))
    FILTER (WHERE sequence % :every = 0)
FROM marketdata.trades
WHERE symbol = :symbol AND trade_time >= :start AND trade_time < :end
GROUP BY 1
"""

_CANDLE_SLICES = """
SELECT date_bin(:length, open_time, :start), count(*)
FROM marketdata.candles
WHERE symbol = :symbol AND interval_seconds = 60 AND open_time >= :start AND open_time < :end
GROUP BY 1
"""


_QUARANTINE = """
SELECT reason, count(*) FROM marketdata.quarantine
WHERE symbol = :symbol AND receive_time >= :start AND receive_time < :end AND replay_time IS NULL
GROUP BY reason ORDER BY reason
"""


class PostgresQuality:
    """Implements QualityReader."""

    def __init__(self, engine: AsyncEngine, gaps: GapStore) -> None:
        self._engine = engine
        self._gaps = gaps

    async def newest(self, symbol: str) -> datetime | None:
        rows = await self._rows(_NEWEST, symbol=symbol)
        opened: datetime | None = rows[0][0] if rows else None
        return None if opened is None else opened + Interval.ONE_MINUTE.length

    async def candles(self, symbol: str, span: Span) -> Sequence[CandleCount]:
        rows = await self._rows(_CANDLES, symbol=symbol, start=span.start, end=span.end)
        return [CandleCount(Interval(seconds), *counts) for seconds, *counts in rows]

    async def latency(self, symbol: str, span: Span) -> tuple[int, Latency | None]:
        trades = await self._trades(symbol, span)
        rows = await self._rows(_LATENCY, symbol=symbol, start=span.start, end=span.end, every=_every(trades))
        times = rows[0][0]
        return trades, None if times is None else Latency(*(timedelta(seconds=float(each)) for each in times))

    async def slices(self, symbol: str, span: Span) -> Sequence[Slice]:
        bounds = {"symbol": symbol, "start": span.start, "end": span.end, "length": span.slice_length}
        every = _every(await self._trades(symbol, span))
        minutes = dict(await self._rows(_CANDLE_SLICES, **bounds))
        trades = {row[0]: row[1:] for row in await self._rows(_TRADE_SLICES, **bounds, every=every)}
        slices = []
        for start in sorted(minutes.keys() | trades.keys()):
            count, times = trades.get(start, (0, None))
            p50, p99 = (None, None) if times is None else (timedelta(seconds=float(each)) for each in times)
            slices.append(Slice(start, count, minutes.get(start, 0), p50, p99))
        return slices

    async def gaps(self, symbol: str, span: Span) -> Sequence[Gap]:
        found = await self._gaps.list(GapFilter(symbol, None, span.start, span.end), None, _MOST_GAPS)
        return sorted((gap for _, gap in found), key=lambda gap: gap.start_time)

    async def quarantine(self, symbol: str, span: Span) -> Mapping[Reason, int]:
        rows = await self._rows(_QUARANTINE, symbol=symbol, start=span.start, end=span.end)
        return {Reason(reason): count for reason, count in rows}

    async def _trades(self, symbol: str, span: Span) -> int:
        rows = await self._rows(_TRADES, symbol=symbol, start=span.start, end=span.end)
        return int(rows[0][0])

    async def _rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        async with self._engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(statement), parameters)]


def _every(trades: int) -> int:
    """Of how many trades one is timed."""
    return max(1, trades // _TIMED)
