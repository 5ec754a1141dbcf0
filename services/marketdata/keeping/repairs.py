"""Puts together what finds out what is missing, and fetches it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from services.marketdata.adapters.backfills import PostgresBackfills
from services.marketdata.adapters.gaps import PostgresGaps
from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Candle, Symbol
from services.marketdata.keeping.backfiller import Backfiller
from services.marketdata.keeping.gap_repairer import GapRepairer, WriteTrades
from services.marketdata.ports.candles import CandleStore
from services.marketdata.ports.sources import Source
from services.marketdata.servicers.repairs import Repairs
from services.marketdata.use_cases.gaps import (
    CancelBackfillJob,
    CreateBackfillJob,
    GetBackfillJob,
    ListBackfillJobs,
    ListGaps,
)
from services.marketdata.use_cases.verification import VerifyCandles
from services.runtime.clock import Clock


@dataclass(frozen=True)
class RepairParts:
    """What a replica repairs with; ``works`` go on while it leads a source."""

    engine: AsyncEngine
    catalog: Catalog
    candles: CandleStore
    write: WriteTrades
    added: Callable[[Sequence[Candle]], None]
    """Told new candles of backfills."""
    now: Clock

    def servicer(self, sources: Mapping[str, Source]) -> Repairs:
        """Answers requests, whoever leads."""
        gaps, jobs = PostgresGaps(self.engine), PostgresBackfills(self.engine)
        return Repairs(
            ListGaps(gaps),
            CreateBackfillJob(self.catalog, jobs, self.now),
            GetBackfillJob(jobs),
            ListBackfillJobs(jobs),
            CancelBackfillJob(jobs, self.now),
            VerifyCandles(self.catalog, sources, self.candles),
        )

    def works(self, source: Source) -> tuple[GapRepairer, Backfiller]:
        """What is done in the background by the leader of ``source``."""
        jobs = PostgresBackfills(self.engine)
        return (
            GapRepairer(source, PostgresGaps(self.engine), self.write, self.now),
            Backfiller(source, self._symbol, jobs, self.candles, self.write, self.added, self.now),
        )

    def _symbol(self, name: str) -> Symbol | None:
        return next((symbol for symbol in self.catalog.all() if symbol.symbol == name), None)
