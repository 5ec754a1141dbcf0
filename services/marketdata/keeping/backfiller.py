"""Does the backfill jobs of a source, one after the other, in the background."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from services.marketdata.domain.backfill import BackfillJob, BackfillState
from services.marketdata.domain.market import Candle, Channel, Symbol, Trade
from services.marketdata.feeding.patience import Patience
from services.marketdata.keeping.candle_keeper import CandleKeeper
from services.marketdata.keeping.gap_repairer import WriteTrades
from services.marketdata.ports.candles import CandleStore
from services.marketdata.ports.gaps import JobStore
from services.marketdata.ports.leases import Lease, LeaseLost
from services.marketdata.ports.sources import Source, SourceUnavailable
from services.runtime.clock import Clock

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0


class Backfiller:
    """Fetches what the jobs of one source ask for. A job that was interrupted goes on where it was.

    One for which the source does not do what is asked waits until the others have had their turn.
    """

    def __init__(
        self,
        source: Source,
        symbol_of: Callable[[str], Symbol | None],
        jobs: JobStore,
        candles: CandleStore,
        write: WriteTrades,
        added: Callable[[Sequence[Candle]], None],
        now: Clock,
    ) -> None:
        """``added`` is told new candles."""
        self._source = source
        self._symbol_of = symbol_of
        self._jobs = jobs
        self._candles = candles
        self._write = write
        self._added = added
        self._now = now
        self._lease: Lease | None = None
        self._keepers: Callable[[], Iterable[CandleKeeper]] = list
        self._failed: set[uuid.UUID] = set()
        """The jobs that have failed in this round."""

    async def __call__(self, lease: Lease | None, keepers: Callable[[], Iterable[CandleKeeper]]) -> None:
        """Do jobs, until it is cancelled or LeaseLost is raised; ``keepers`` build candles of what was fetched."""
        self._lease, self._keepers = lease, keepers
        patience = Patience()
        while True:
            try:
                job = await self._jobs.next(self._source.name, self._failed)
                if job is not None:
                    await self._do(job, patience)
                    continue
                self._failed.clear()
            except LeaseLost:
                raise
            except Exception:  # noqa: BLE001 - whatever fails is logged, and tried again later
                _log.exception("backfill interrupted", extra={"source": self._source.name})
                await asyncio.sleep(patience.lost())
            await asyncio.sleep(_LOOK_SECONDS)

    async def _do(self, job: BackfillJob, patience: Patience) -> None:
        symbol = self._symbol_of(job.symbol)
        if symbol is None:
            await self._end(job, BackfillState.FAILED, "there is no such symbol any more")
        elif job.channel is Channel.CANDLES and job.interval not in self._source.intervals:
            await self._end(job, BackfillState.FAILED, "the source has no candles of its own of this interval")
        else:
            try:
                await self._fetch(job, symbol)
                patience.reset()
            except SourceUnavailable as error:
                self._failed.add(job.job_id)
                stored = await self._jobs.get(job.job_id)
                await self._jobs.progressed(replace(stored or job, problem=str(error)), self._lease)
                await asyncio.sleep(patience.lost())

    async def _fetch(self, job: BackfillJob, symbol: Symbol) -> None:
        now = await self._source.now()
        end = now if job.end_time is None else min(job.end_time, now)
        job = replace(job, state=BackfillState.RUNNING, end_time=end, problem="")
        page = self._candle_page if job.channel is Channel.CANDLES else self._trade_page
        after: Trade | None = None
        while await self._jobs.progressed(job, self._lease):
            job, after, more = await page(job, symbol, after, end)
            if not more:
                await self._end(replace(job, position=max(job.position, end)), BackfillState.DONE)
                if job.channel is Channel.TRADES:
                    for keeper in self._keepers():
                        if keeper.symbol.symbol == job.symbol:
                            keeper.extended(job.start_time, end)
                return

    async def _trade_page(
        self, job: BackfillJob, symbol: Symbol, after: Trade | None, end: datetime
    ) -> tuple[BackfillJob, Trade | None, bool]:
        page = await self._source.past_trades(symbol, after, job.position)
        wanted = [trade for trade in page if job.start_time <= trade.trade_time < end]
        new_rows = len((await self._write(wanted, self._lease)).new) if wanted else 0
        if not page:
            return job, after, False
        position = max(job.position, min(page[-1].trade_time, end))
        job = _counted(job, position, len(wanted), new_rows)
        return job, page[-1], page[-1].trade_time < end

    async def _candle_page(
        self, job: BackfillJob, symbol: Symbol, after: Trade | None, end: datetime
    ) -> tuple[BackfillJob, Trade | None, bool]:
        assert job.interval is not None  # noqa: S101 - the contract asks for it
        page = await self._source.candles(symbol, job.interval, job.position)
        wanted = [candle for candle in page if candle.open_time < end and candle.close_time <= end]
        if not wanted:
            return job, after, False
        added = await self._candles.add(wanted, None, self._lease, replace=False)
        self._added(added)
        new_rows = sum(candle.interval is job.interval for candle in added)
        return _counted(job, wanted[-1].close_time, len(wanted), new_rows), after, len(wanted) == len(page)

    async def _end(self, job: BackfillJob, state: BackfillState, problem: str = "") -> None:
        ended = replace(job, state=state, complete_time=self._now(), problem=problem)
        await self._jobs.progressed(ended, self._lease)


def _counted(job: BackfillJob, position: datetime, fetched: int, new: int) -> BackfillJob:
    return replace(job, position=position, fetched_rows=job.fetched_rows + fetched, new_rows=job.new_rows + new)
