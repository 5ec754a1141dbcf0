"""Gaps in PostgreSQL."""

import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.marketdata.adapters import leases
from services.marketdata.domain.gaps import Evidence, Gap, GapState
from services.marketdata.domain.market import Channel, Interval, TakerSide, Trade
from services.marketdata.ports.gaps import Followed, GapFilter
from services.marketdata.ports.leases import Lease

_FOLLOWED = """
SELECT since, position, newest_trade_id, newest_time FROM marketdata.followed WHERE symbol = :symbol
"""

_PUT_FOLLOWED = """
INSERT INTO marketdata.followed (symbol, since, position, newest_trade_id, newest_time)
VALUES (:symbol, :since, :position, :newest_trade_id, :newest_time)
ON CONFLICT (symbol) DO UPDATE SET
    since = excluded.since, position = excluded.position,
    newest_trade_id = excluded.newest_trade_id, newest_time = excluded.newest_time
"""

_ADD = """
INSERT INTO marketdata.gaps
    (gap_id, symbol, channel, interval_seconds, start_time, end_time, first_trade_id, last_trade_id, evidence, state,
     repaired_rows, detect_time, close_time, problem)
VALUES
    (:gap_id, :symbol, :channel, :interval, :start_time, :end_time, :first_trade_id, :last_trade_id, :evidence, :state,
     :repaired_rows, coalesce(CAST(:detect_time AS timestamptz), now()), :close_time, :problem)
ON CONFLICT (gap_id) DO NOTHING
"""

_PUT = """
UPDATE marketdata.gaps
SET state = :state, repaired_rows = :repaired_rows, close_time = :close_time, problem = :problem
WHERE gap_id = :gap_id AND state = 'open'
"""

_SETTLE = "UPDATE marketdata.gaps SET settled = true WHERE gap_id = ANY(:gap_ids)"

_KNOWN = """
SELECT gap_id, symbol, channel, interval_seconds, start_time, end_time, first_trade_id, last_trade_id, evidence, state,
       repaired_rows, detect_time, close_time, problem, settled
FROM marketdata.gaps WHERE symbol = :symbol AND (NOT settled OR state <> 'repaired')
ORDER BY start_time
"""

_OPEN_COUNT = "SELECT count(*) FROM marketdata.gaps WHERE state = 'open' AND symbol = ANY(:symbols)"

_LIST = """
SELECT number, gap_id, symbol, channel, interval_seconds, start_time, end_time, first_trade_id, last_trade_id, evidence,
       state, repaired_rows, detect_time, close_time, problem
FROM marketdata.gaps
WHERE (:symbol = '' OR symbol = :symbol)
  AND (CAST(:state AS text) IS NULL OR state = :state)
  AND (CAST(:start AS timestamptz) IS NULL OR end_time > :start)
  AND (CAST(:end AS timestamptz) IS NULL OR start_time < :end)
  AND (CAST(:before AS bigint) IS NULL OR number < :before)
ORDER BY number DESC LIMIT :limit
"""


class PostgresGaps:
    """Implements GapStore."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def followed(self, symbol: str) -> Followed | None:
        rows = await self._rows(_FOLLOWED, symbol=symbol)
        if not rows:
            return None
        since, position, trade_id, time = rows[0]
        newest = Trade(symbol, trade_id, Decimal(0), Decimal(0), TakerSide.UNKNOWN, time, time) if trade_id else None
        return Followed(since, position, newest)

    async def put_followed(self, symbol: str, followed: Followed, lease: Lease | None) -> None:
        newest = followed.newest
        values = {
            "symbol": symbol,
            "since": followed.since,
            "position": followed.position,
            "newest_trade_id": "" if newest is None else newest.trade_id,
            "newest_time": followed.since if newest is None else newest.trade_time,
        }
        async with self._engine.begin() as connection:
            await leases.require(connection, lease)
            await connection.execute(text(_PUT_FOLLOWED), values)

    async def add(self, gaps: Sequence[Gap], lease: Lease | None) -> None:
        async with self._engine.begin() as connection:
            await leases.require(connection, lease)
            await _add(connection, gaps)

    async def progressed(self, gap: Gap, lease: Lease | None) -> None:
        async with self._engine.begin() as connection:
            await leases.require(connection, lease)
            await connection.execute(text(_PUT), _state(gap))

    async def close(self, gaps: Sequence[Gap], lease: Lease | None) -> None:
        async with self._engine.begin() as connection:
            await leases.require(connection, lease)
            await connection.execute(text(_PUT), _state(gaps[0]))
            await _add(connection, gaps[1:])

    async def settle(self, gap_ids: Sequence[uuid.UUID], lease: Lease | None) -> None:
        async with self._engine.begin() as connection:
            await leases.require(connection, lease)
            await connection.execute(text(_SETTLE), {"gap_ids": list(gap_ids)})

    async def known(self, symbol: str) -> list[tuple[Gap, bool]]:
        return [(_gap(row[:-1]), bool(row[-1])) for row in await self._rows(_KNOWN, symbol=symbol)]

    async def open_count(self, symbols: Sequence[str]) -> int:
        ((count,),) = await self._rows(_OPEN_COUNT, symbols=list(symbols))
        return int(count)

    async def list(self, wanted: GapFilter, before: int | None, limit: int) -> list[tuple[int, Gap]]:
        rows = await self._rows(
            _LIST,
            symbol=wanted.symbol,
            state=None if wanted.state is None else wanted.state.value,
            start=wanted.start,
            end=wanted.end,
            before=before,
            limit=limit,
        )
        return [(row[0], _gap(row[1:])) for row in rows]

    async def _rows(self, statement: str, **parameters: Any) -> Sequence[Any]:
        async with self._engine.connect() as connection:
            return (await connection.execute(text(statement), parameters)).all()


async def _add(connection: AsyncConnection, gaps: Sequence[Gap]) -> None:
    for gap in gaps:
        values = {
            "symbol": gap.symbol,
            "channel": gap.channel.value,
            "interval": None if gap.interval is None else gap.interval.value,
            "start_time": gap.start_time,
            "end_time": gap.end_time,
            "first_trade_id": gap.first_trade_id,
            "last_trade_id": gap.last_trade_id,
            "evidence": gap.evidence.value,
            "detect_time": gap.detect_time,
        }
        await connection.execute(text(_ADD), {**values, **_state(gap)})


def _state(gap: Gap) -> dict[str, Any]:
    return {
        "gap_id": gap.gap_id,
        "state": gap.state.value,
        "repaired_rows": gap.repaired_rows,
        "close_time": gap.close_time,
        "problem": gap.problem,
    }


def _gap(row: Sequence[Any]) -> Gap:
    gap_id, symbol, channel, seconds, start, end, first_id, last_id, evidence, state, *rest = row
    interval = None if seconds is None else Interval(seconds)
    span = (gap_id, symbol, Channel(channel), start, end, Evidence(evidence))
    return Gap(*span, interval, first_id, last_id, GapState(state), *rest)
