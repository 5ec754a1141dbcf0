"""Keeps one series of candles complete: builds or fetches what is missing, and corrects what was wrong."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from services.marketdata.domain.builder import Built
from services.marketdata.domain.gaps import Coverage
from services.marketdata.domain.market import Candle, Interval, Origin, Symbol
from services.marketdata.domain.series import CandleSeries, Progress, Span, corrected_quiet, filled
from services.marketdata.feeding.patience import Patience
from services.marketdata.ports.candles import CandleStore, History
from services.marketdata.ports.leases import Lease, LeaseLost
from services.marketdata.ports.sources import Source, SourceUnavailable

_log = logging.getLogger(__name__)

_AT_ONCE = 1000
"""How many intervals are built from stored trades, or skipped at the start of a history, at once."""
_CLOCK_SET_BACK = timedelta(days=1)
"""How far back the source's clock may be set, by a restart of a sandbox, and still be the clock of the same market."""
_LONGEST_QUIET = timedelta(days=30)
"""How long a market may be without trades."""


@dataclass
class SeriesKeeper:
    """The candles of one symbol and interval. ``run`` works until it is cancelled; the rest never waits.

    A step that fails (the source or PostgreSQL is away) is repeated: memory moves on only after the store has.
    """

    symbol: Symbol
    interval: Interval
    span: timedelta | None
    """How much history is wanted of the source; None where the candles come from trades only."""
    source: Source
    store: CandleStore
    coverage: Coverage
    """What is known of the trades, kept by the keeper of the symbol."""
    lease: Lease | None
    stored: Callable[[Sequence[Candle]], None]
    """Told what was stored."""

    complete: bool = field(default=False, init=False)
    """Whether all that the source has was stored at some time since the start."""
    problem: str | None = field(default=None, init=False)
    """Why the source's candles cannot be had."""
    _watermark: datetime | None = field(default=None, init=False)
    _series: CandleSeries | None = field(default=None, init=False)
    _early: list[Span] = field(default_factory=list, init=False)
    """What became doubtful before the series was opened."""
    _history: History = field(init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _patience: Patience = field(default_factory=Patience, init=False)

    def offer(self, built: Built) -> None:
        """Take in what was built from trades."""
        if not built.candles and not built.doubtful:
            return
        if self._series is None:
            self._early += [Span(time, time + self.interval.length) for time in built.doubtful]
            return
        self._series.offer(built)
        self._patience.reset()
        self._news.set()

    def doubt(self, span: Span) -> None:
        """What is stored of ``span`` may be wrong or missing."""
        if self._series is None:
            self._early.append(span)
        else:
            self._series.doubt(span)
        self._news.set()

    def tell_time(self, watermark: datetime) -> None:
        """The source's clock has passed ``watermark``, and what happened before has arrived."""
        self._watermark = watermark
        self._news.set()

    @property
    def is_in_doubt(self) -> bool:
        """Whether stored candles have still to be looked at again."""
        return bool(self._early) if self._series is None else self._series.is_in_doubt

    def progress(self) -> Progress | None:
        """How far the history is; None before the source has told its time."""
        if self._series is None or self._watermark is None:
            return None
        return self._series.progress(self._watermark, complete=self.complete)

    async def run(self) -> None:
        """Keep the series complete until the lease is lost: then LeaseLost is raised."""
        while True:
            self._news.clear()
            try:
                if await self._step():
                    self.problem = None
                    continue
            except SourceUnavailable as error:
                self.problem = str(error)
                _log.warning("candles not fetched", extra={"candles": self._name, "problem": self.problem})
                self._patience.lost()
            except LeaseLost:
                raise
            except Exception:  # noqa: BLE001 - a keeper outlives whatever fails, says so and tries again
                _log.exception("candles not kept", extra={"candles": self._name})
                await asyncio.sleep(self._patience.lost())
                continue
            await self._news.wait()

    async def _step(self) -> bool:
        """Do the next thing that is to be done; whether there was one."""
        watermark = self._watermark
        if watermark is None:
            return False
        if self._series is None:
            return await self._open(watermark)
        series = self._series
        if ready := series.ready():
            await self._keep(ready)
            return True
        behind = series.is_behind(watermark)
        if behind and await self._catch_up(series, watermark):
            return True
        if not behind or self.span is None:
            await self._reached_the_end()
            if (span := series.doubtful(watermark)) is not None and self._patience.is_over:
                return await self._look_again(series, span, watermark)
        return False

    async def _open(self, watermark: datetime) -> bool:
        symbol, length = self.symbol.symbol, self.interval.length
        history = await self.store.history(symbol, self.interval)
        if history is not None and history.next_open > watermark + _CLOCK_SET_BACK:
            raise self._another_market(history.next_open, f"the source's clock shows {watermark}")
        if self.span is not None:
            wanted = self.interval.floor(watermark - self.span)
            if history is None or wanted < history.start_time - _CLOCK_SET_BACK:
                history = History(wanted, wanted, None if history is None else history.live_from)
                await self.store.put_history(symbol, self.interval, history, self.lease)
        elif history is None:
            if self.coverage.since is None:
                return False
            begin = self.interval.floor(self.coverage.since) + length
            history = History(begin, begin, begin)
            await self.store.put_history(symbol, self.interval, history, self.lease)
        self._history = history
        first = await self.store.candles(symbol, self.interval, history.start_time, history.next_open, 1)
        last = await self.store.candles(symbol, self.interval, history.next_open - length, history.next_open, 1)
        start = first[0].open_time if first else history.next_open
        self._series = CandleSeries(symbol, self.interval, start, history.next_open, last[0] if last else None)
        for span in self._early:
            self._series.doubt(span)
        self._early.clear()
        return True

    async def _catch_up(self, series: CandleSeries, watermark: datetime) -> bool:
        """Build what comes next from the stored trades, or fetch it; whether that was possible."""
        end = min(filter(None, (series.next_built, watermark)))
        end = min(end, series.next_open + _AT_ONCE * self.interval.length)
        until = self.coverage.whole_until(series.next_open, end, self.interval)
        if until > series.next_open:
            built = await self.store.built(self.symbol.symbol, self.interval, series.next_open, until)
            before = series.last or await self._before(series.next_open)
            if candles := series.joined(before, built, until):
                await self._keep(candles)
                return True
        if self.span is not None:
            return self._patience.is_over and await self._fetch(series, watermark)
        known = self.coverage.until if series.next_built is None else series.next_built
        if known is None:
            return False
        begin = max(until, self.coverage.whole_from(until, self.interval.floor(known), self.interval))
        return begin > series.next_open and await self._skip(series, begin)

    async def _skip(self, series: CandleSeries, begin: datetime) -> bool:
        """Go on behind a gap: what is in it is built when it is repaired."""
        history = replace(self._history, next_open=begin)
        await self.store.put_history(self.symbol.symbol, self.interval, history, self.lease)
        self._history = history
        series.skip_to(begin)
        return True

    async def _fetch(self, series: CandleSeries, watermark: datetime) -> bool:
        page = await self.source.candles(self.symbol, self.interval, series.next_open)
        if page and not series.is_empty and page[0].open_time > series.next_open + _LONGEST_QUIET:
            raise self._another_market(series.next_open, f"the source has none before {page[0].open_time}")
        if candles := series.filled_from(page, watermark):
            await self._keep(candles)
        elif series.is_empty and (next_open := self._skipped(series, page, watermark)) > series.next_open:
            series.skip_to(next_open)
        else:
            self._patience.lost()
            await self._reached_the_end()
            return False
        self._patience.reset()
        return True

    def _skipped(self, series: CandleSeries, page: list[Candle], watermark: datetime) -> datetime:
        """Where to look for the first candle after ``page`` had none that is over."""
        if page:
            return page[0].open_time
        return min(series.next_open + _AT_ONCE * self.interval.length, self.interval.floor(watermark))

    async def _look_again(self, series: CandleSeries, span: Span, watermark: datetime) -> bool:
        """Correct the first part of ``span``, from the stored trades where all are there, or else from the source.

        Returns whether that was possible; where there are neither all trades nor a source, nothing is to be corrected.
        """
        until = min(span.end, span.start + _AT_ONCE * self.interval.length)
        whole = self.coverage.whole_until(span.start, until, self.interval)
        candles: list[Candle] = []
        if whole > span.start:
            until = whole
            candles = await self._built_again(span.start, until)
        elif self.span is not None:
            page = await self.source.candles(self.symbol, self.interval, span.start)
            candles = [candle for candle in page if candle.close_time <= watermark and candle.open_time < until]
            if page and page[-1].open_time < until:
                until = min(until, page[-1].close_time)
        else:
            until = self.coverage.whole_from(span.start, until, self.interval)
            if until == span.start:
                return False
            await self._doubt_quiet(series, until)
        series.settled(until, await self._correct(candles))
        return True

    async def _doubt_quiet(self, series: CandleSeries, start: datetime) -> None:
        """Look again at the candle at ``start`` if it only has the price of what is before it, which is not stored."""
        end = start + self.interval.length
        for candle in await self.store.candles(self.symbol.symbol, self.interval, start, end, 1):
            if not candle.volume:
                series.doubt(Span(start, end))

    async def _built_again(self, start: datetime, end: datetime) -> list[Candle]:
        length = self.interval.length
        stored = await self.store.candles(self.symbol.symbol, self.interval, start - length, start, 1)
        before = stored[0] if stored else await self._before(start)
        built = await self.store.built(self.symbol.symbol, self.interval, start, end)
        return filled(before, built, end, Origin.TRADES)

    async def _before(self, start: datetime) -> Candle | None:
        """A candle with the price before ``start``; None where it is not known."""
        last = await self.store.built_before(self.symbol.symbol, self.interval, start)
        if last is None or not self.coverage.is_newest(last.open_time, start):
            return None
        return last.flat_at(start - self.interval.length, Origin.TRADES)

    async def _correct(self, candles: list[Candle]) -> list[Candle]:
        if not candles:
            return []
        # All in one transaction: where a part of the quiet ones is right already, the rest is not looked at again.
        corrections, quiet = [*candles], candles[-1:]
        while quiet:
            start, end = quiet[-1].close_time, self._history.next_open
            following = await self.store.candles(self.symbol.symbol, self.interval, start, end, _AT_ONCE)
            quiet = corrected_quiet(candles[-1], following)
            corrections += quiet
        self.stored(await self.store.add(corrections, None, self.lease))
        return corrections

    async def _keep(self, candles: list[Candle]) -> None:
        """Store what comes next."""
        assert self._series is not None  # noqa: S101 - steps come after the opening
        history = replace(self._history, next_open=candles[-1].close_time)
        added = await self.store.add(candles, history, self.lease)
        self._history = history
        self._series.stored(candles)
        self.stored(added)

    async def _reached_the_end(self) -> None:
        """All that the source has is stored: from here on, candles are streamed."""
        if self._history.live_from is None:
            history = replace(self._history, live_from=self._history.next_open)
            await self.store.put_history(self.symbol.symbol, self.interval, history, self.lease)
            self._history = history
        self.complete = True

    def _another_market(self, stored_until: datetime, contradiction: str) -> SourceUnavailable:
        return SourceUnavailable(
            f"candles of {self._name} are stored up to {stored_until}, but {contradiction}: it is another"
            " market, so give it another name by MARKETDATA_SOURCE"
        )

    @property
    def _name(self) -> str:
        return f"{self.symbol.symbol} {self.interval.value} s"
