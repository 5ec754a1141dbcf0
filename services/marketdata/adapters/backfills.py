"""Backfill jobs in PostgreSQL."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.marketdata.adapters import leases
from services.marketdata.domain.backfill import BackfillJob, BackfillState
from services.marketdata.domain.market import Channel, Interval
from services.marketdata.ports.leases import Lease

_CREATE = """
INSERT INTO marketdata.backfill_jobs
    (job_id, symbol, source, channel, interval_seconds, start_time, wanted_end_time, end_time, state, position,
     fetched_rows, new_rows, create_time, complete_time, problem)
VALUES
    (:job_id, :symbol, :source, :channel, :interval, :start_time, :wanted_end_time, :end_time, :state, :position,
     :fetched_rows, :new_rows, :create_time, :complete_time, :problem)
ON CONFLICT (job_id) DO NOTHING
"""

_GET = """
SELECT job_id, symbol, channel, interval_seconds, start_time, wanted_end_time, end_time, state, position, fetched_rows,
       new_rows, create_time, complete_time, problem
FROM marketdata.backfill_jobs WHERE job_id = :job_id
"""

_NEXT = """
SELECT job_id, symbol, channel, interval_seconds, start_time, wanted_end_time, end_time, state, position, fetched_rows,
       new_rows, create_time, complete_time, problem
FROM marketdata.backfill_jobs
WHERE source = :source AND state IN ('waiting', 'running') AND job_id <> ALL(CAST(:skip AS uuid[]))
ORDER BY number LIMIT 1
"""

_LIST = """
SELECT number, job_id, symbol, channel, interval_seconds, start_time, wanted_end_time, end_time, state, position,
       fetched_rows, new_rows, create_time, complete_time, problem
FROM marketdata.backfill_jobs
WHERE (:symbol = '' OR symbol = :symbol)
  AND (CAST(:state AS text) IS NULL OR state = :state)
  AND (CAST(:before AS bigint) IS NULL OR number < :before)
ORDER BY number DESC LIMIT :limit
"""

_CANCEL = """
UPDATE marketdata.backfill_jobs SET state = 'cancelled', complete_time = :now
WHERE job_id = :job_id AND state IN ('waiting', 'running')
"""

_PROGRESSED = """
UPDATE marketdata.backfill_jobs SET
    end_time = :end_time, state = :state, position = :position, fetched_rows = :fetched_rows, new_rows = :new_rows,
    complete_time = :complete_time, problem = :problem
WHERE job_id = :job_id AND state IN ('waiting', 'running')
"""


class PostgresBackfills:
    """Implements JobStore."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def create(self, job: BackfillJob, source: str) -> BackfillJob:
        async with self._engine.begin() as connection:
            await connection.execute(text(_CREATE), {**_values(job), "source": source})
            return await _get(connection, job.job_id) or job

    async def get(self, job_id: uuid.UUID) -> BackfillJob | None:
        async with self._engine.connect() as connection:
            return await _get(connection, job_id)

    async def list(
        self, symbol: str, state: BackfillState | None, before: int | None, limit: int
    ) -> list[tuple[int, BackfillJob]]:
        values = {"symbol": symbol, "state": None if state is None else state.value, "before": before, "limit": limit}
        async with self._engine.connect() as connection:
            return [(row[0], _job(row[1:])) for row in await connection.execute(text(_LIST), values)]

    async def cancel(self, job_id: uuid.UUID, now: datetime) -> BackfillJob | None:
        async with self._engine.begin() as connection:
            await connection.execute(text(_CANCEL), {"job_id": job_id, "now": now})
            return await _get(connection, job_id)

    async def next(self, source: str, skip: Collection[uuid.UUID] = ()) -> BackfillJob | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(text(_NEXT), {"source": source, "skip": list(skip)})).first()
            return None if row is None else _job(row)

    async def progressed(self, job: BackfillJob, lease: Lease | None) -> bool:
        async with self._engine.begin() as connection:
            await leases.require(connection, lease)
            return bool((await connection.execute(text(_PROGRESSED), _values(job))).rowcount)


async def _get(connection: AsyncConnection, job_id: uuid.UUID) -> BackfillJob | None:
    row = (await connection.execute(text(_GET), {"job_id": job_id})).first()
    return None if row is None else _job(row)


def _values(job: BackfillJob) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "symbol": job.symbol,
        "channel": job.channel.value,
        "interval": None if job.interval is None else job.interval.value,
        "start_time": job.start_time,
        "wanted_end_time": job.wanted_end_time,
        "end_time": job.end_time,
        "state": job.state.value,
        "position": job.position,
        "fetched_rows": job.fetched_rows,
        "new_rows": job.new_rows,
        "create_time": job.create_time,
        "complete_time": job.complete_time,
        "problem": job.problem,
    }


def _job(row: Sequence[Any]) -> BackfillJob:
    job_id, symbol, channel, seconds, start, wanted_end, end, state, *rest = row
    interval = None if seconds is None else Interval(seconds)
    return BackfillJob(job_id, symbol, Channel(channel), interval, start, wanted_end, end, BackfillState(state), *rest)
