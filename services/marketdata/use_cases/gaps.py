"""What is missing, and having it fetched."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from services.marketdata.catalog import Catalog
from services.marketdata.domain.backfill import BackfillJob, BackfillState
from services.marketdata.domain.gaps import Gap
from services.marketdata.domain.market import Channel, Interval
from services.marketdata.errors import BackfillJobExists, BackfillJobNotFound
from services.marketdata.ports.gaps import GapFilter, GapStore, JobStore
from services.runtime.clock import Clock

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows, the newest first, and the number before which the next page begins; None after the last."""

    rows: list[T]
    next_before: int | None


class ListGaps:
    """List what is missing."""

    def __init__(self, gaps: GapStore) -> None:
        self._gaps = gaps

    async def __call__(self, wanted: GapFilter, before: int | None, size: int) -> Page[Gap]:
        return _page(await self._gaps.list(wanted, before, size + 1), size)


class CreateBackfillJob:
    """Have a stretch of the past fetched; the same id with the same content is the same job."""

    def __init__(self, catalog: Catalog, jobs: JobStore, now: Clock) -> None:
        self._catalog = catalog
        self._jobs = jobs
        self._now = now

    async def __call__(
        self,
        job_id: uuid.UUID,
        symbol: str,
        channel: Channel,
        interval: Interval | None,
        start: datetime,
        end: datetime | None,
    ) -> BackfillJob:
        source = self._catalog.get(symbol).source
        interval = interval if channel is Channel.CANDLES else None
        if interval is not None and start > interval.floor(start):
            start = interval.floor(start) + interval.length
        asked_for = BackfillJob.asked_for(job_id, symbol, channel, interval, start, end, self._now())
        job = await self._jobs.create(asked_for, source)
        if not job.asks_for_the_same_as(asked_for):
            raise BackfillJobExists(f"there is a backfill {job_id} that asks for something else; choose another id")
        return job


class GetBackfillJob:
    """Tell how far a backfill is."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs

    async def __call__(self, job_id: uuid.UUID) -> BackfillJob:
        return _found(await self._jobs.get(job_id), job_id)


class ListBackfillJobs:
    """List the backfills."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs

    async def __call__(
        self, symbol: str, state: BackfillState | None, before: int | None, size: int
    ) -> Page[BackfillJob]:
        return _page(await self._jobs.list(symbol, state, before, size + 1), size)


class CancelBackfillJob:
    """End a backfill."""

    def __init__(self, jobs: JobStore, now: Clock) -> None:
        self._jobs = jobs
        self._now = now

    async def __call__(self, job_id: uuid.UUID) -> BackfillJob:
        return _found(await self._jobs.cancel(job_id, self._now()), job_id)


def _page(rows: list[tuple[int, T]], size: int) -> Page[T]:
    return Page([row for _, row in rows[:size]], rows[size - 1][0] if len(rows) > size else None)


def _found(job: BackfillJob | None, job_id: uuid.UUID) -> BackfillJob:
    if job is None:
        raise BackfillJobNotFound(f"there is no backfill {job_id}; ListBackfillJobs lists them all")
    return job
