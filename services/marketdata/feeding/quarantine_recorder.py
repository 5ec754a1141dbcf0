"""Stores rows that broke a rule in batches, as soon as the store takes them."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Sequence
from datetime import timedelta

from prometheus_client import Counter as Metric

from services.marketdata.domain.quarantine import Refused
from services.marketdata.feeding.patience import Patience
from services.marketdata.ports.quarantine import QuarantineStore
from services.runtime.clock import Clock

_log = logging.getLogger(__name__)

_BATCH = 1_000
MOST_WAITING = 100_000
"""Rows beyond this many are dropped, the oldest first, while the store is away."""
_RETENTION_SECONDS = 3_600.0


_ROWS = Metric("marketdata_quarantined_rows", "Rows that broke a rule.", ["source", "reason"])
_DROPPED = Metric(
    "marketdata_quarantine_dropped_rows",
    "Rows that broke a rule and could not be kept, because the database was away for too long.",
    ["source"],
)


class QuarantineMetrics:
    """What Prometheus is told; the same for all quarantines of a process."""

    rows = _ROWS
    dropped = _DROPPED


class QuarantineRecorder:
    """Implements Quarantine and QuarantineKeeper."""

    def __init__(self, store: QuarantineStore, metrics: QuarantineMetrics, kept: timedelta, now: Clock) -> None:
        self._store = store
        self._metrics = metrics
        self._kept = kept
        self._now = now
        self._waiting: deque[Refused] = deque()
        self._news = asyncio.Event()
        self._counts: Counter[str] = Counter()

    def put(self, row: Refused) -> None:
        self._counts[row.source] += 1
        self._metrics.rows.labels(row.source, row.reason.value).inc()
        self._waiting.append(row)
        if len(self._waiting) > MOST_WAITING:
            dropped = self._waiting.popleft()
            self._metrics.dropped.labels(dropped.source).inc()
            _log.error(
                "row dropped from quarantine, the store is away for too long",
                extra={"source": dropped.source, "symbol": dropped.symbol, "reason": dropped.reason.value},
            )
        self._news.set()

    def count(self, source: str) -> int:
        """How many rows of ``source`` broke a rule since the start."""
        return self._counts[source]

    async def add(self, rows: Sequence[Refused]) -> None:
        await self._store.add(rows)
        for row in rows:
            self._counts[row.source] += 1
            self._metrics.rows.labels(row.source, row.reason.value).inc()

    async def run(self) -> None:
        """Write for ever; when cancelled, write what waits, if the store takes it at once."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                await self._write_all(Patience())
        finally:
            await self._write_the_last()

    async def drop_expired(self) -> None:
        """Drop what has been kept for long enough, for ever."""
        while True:
            await asyncio.sleep(_RETENTION_SECONDS)
            try:
                await self._store.drop(self._now() - self._kept)
            except Exception:  # noqa: BLE001 - whatever fails is logged, and tried again with the next round
                _log.exception("old rows not dropped from quarantine")

    async def _write_the_last(self) -> None:
        try:
            await self._store.add([*self._waiting])
            self._waiting.clear()
        except Exception:  # noqa: BLE001 - whatever fails is said, and must not stand for the cancellation
            _log.exception("rows lost on their way into quarantine", extra={"rows": len(self._waiting)})

    async def _write_all(self, patience: Patience) -> None:
        while self._waiting:
            batch = [self._waiting[index] for index in range(min(_BATCH, len(self._waiting)))]
            try:
                await self._store.add(batch)
            except Exception:  # noqa: BLE001 - whatever fails is logged and tried again; the rows must not be lost
                _log.exception("rows not put into quarantine")
                await asyncio.sleep(patience.lost())
                continue
            patience.reset()
            for row in batch:
                if self._waiting and self._waiting[0] is row:
                    self._waiting.popleft()
