"""Keeps one series of candles complete: fetches what is missing, stores, publishes."""

import asyncio
import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from services.marketdata.domain.builder import Built
from services.marketdata.domain.market import Candle, Interval, Symbol
from services.marketdata.domain.series import CandleSeries, Progress
from services.marketdata.domain.ticker import TickerBoard
from services.marketdata.patience import Patience
from services.marketdata.ports.publisher import Publisher
from services.marketdata.ports.sources import Source, SourceUnavailable
from services.marketdata.ports.store import History, Store

_log = logging.getLogger(__name__)

_SKIPPED_AT_ONCE = 1000
"""How many intervals are skipped when the source has nothing in them, at the start of a history."""

_CLOCK_SET_BACK = timedelta(days=1)
"""How far back the source's clock may be set, by a restart of a sandbox, and still be the clock of the same market."""
_LONGEST_QUIET = timedelta(days=30)
"""How long a market may be without trades."""


@dataclass
class CandleKeeper:
    """The candles of one symbol and interval. ``run`` works until it is cancelled; the rest never waits.

    A step that fails (the source, PostgreSQL or Redis is away) is repeated: memory moves on only after the store has.
    """

    symbol: Symbol
    interval: Interval
    span: timedelta
    """How much history is wanted."""
    source: Source
    store: Store
    publisher: Publisher
    board: TickerBoard

    complete: bool = field(default=False, init=False)
    """Whether all that the source has was stored at some time since the start."""
    problem: str | None = field(default=None, init=False)
    """Why the source's candles cannot be had."""
    _watermark: datetime | None = field(default=None, init=False)
    _series: CandleSeries | None = field(default=None, init=False)
    _history: History = field(init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _unpublished: bool = field(default=True, init=False)
    _patience: Patience = field(default_factory=Patience, init=False)

    def offer(self, built: Built) -> None:
        """Take in what was built from trades."""
        if self._series is not None and (built.candles or built.doubtful):
            self._series.offer(built)
            self._patience.reset()
            self._news.set()

    def tell_time(self, watermark: datetime) -> None:
        """The source's clock has passed ``watermark``, and what happened before has arrived."""
        self._watermark = watermark
        self._news.set()

    def progress(self) -> Progress | None:
        """How far the history is; None before the source has told its time."""
        if self._series is None or self._watermark is None:
            return None
        return self._series.progress(self._watermark, complete=self.complete)

    async def run(self) -> None:
        """Keep the series complete for ever."""
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
            self._series = await self._open(watermark)
            return True
        series = self._series
        if ready := series.ready():
            await self._keep(ready)
            return True
        behind = series.is_behind(watermark)
        if behind and self._patience.is_over and await self._fetch(series, watermark):
            return True
        if self._unpublished:
            await self._publish()
            return True
        if behind:
            return False
        await self._reached_the_end()
        if (open_time := series.doubtful(watermark)) is not None and self._patience.is_over:
            await self._read_again(series, open_time, watermark)
            return True
        return False

    async def _open(self, watermark: datetime) -> CandleSeries:
        symbol, length = self.symbol.symbol, self.interval.length
        wanted = self.interval.floor(watermark - self.span)
        history = await self.store.history(symbol, self.interval)
        if history is not None and history.next_open > watermark + _CLOCK_SET_BACK:
            raise self._another_market(history.next_open, f"the source's clock shows {watermark}")
        if history is None or wanted < history.start_time - _CLOCK_SET_BACK:
            history = History(wanted, wanted, None if history is None else history.live_from)
            await self.store.put_history(symbol, self.interval, history)
        self._history = history
        first = await self.store.candles(symbol, self.interval, history.start_time, history.next_open, 1)
        last = await self.store.candles(symbol, self.interval, history.next_open - length, history.next_open, 1)
        start = first[0].open_time if first else history.next_open
        return CandleSeries(symbol, self.interval, start, history.next_open, last[0] if last else None)

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
        return min(series.next_open + _SKIPPED_AT_ONCE * self.interval.length, self.interval.floor(watermark))

    async def _read_again(self, series: CandleSeries, open_time: datetime, watermark: datetime) -> None:
        page = await self.source.candles(self.symbol, self.interval, open_time)
        candle = page[0] if page and page[0].open_time == open_time and page[0].close_time <= watermark else None
        if candle is not None:
            await self.store.add_candles([candle], None)
            self.board.add_candle(candle)
            self._unpublished = True
        series.settled(open_time, candle)

    async def _keep(self, candles: list[Candle]) -> None:
        """Store what comes next, and have it published."""
        assert self._series is not None  # noqa: S101 - steps come after the opening
        history = replace(self._history, next_open=candles[-1].close_time)
        await self.store.add_candles(candles, history)
        self._history = history
        self._series.stored(candles)
        for candle in candles:
            self.board.add_candle(candle)
        self._unpublished = history.live_from is not None

    async def _reached_the_end(self) -> None:
        """All that the source has is stored: from here on, candles are streamed."""
        if self._history.live_from is None:
            history = replace(self._history, live_from=self._history.next_open)
            await self.store.put_history(self.symbol.symbol, self.interval, history)
            self._history = history
        self.complete = True

    async def _publish(self) -> None:
        while candles := await self.store.unpublished(self.symbol.symbol, self.interval):
            await self.publisher.candles(candles)
            await self.store.mark_published(candles)
        self._unpublished = False

    def _another_market(self, stored_until: datetime, contradiction: str) -> SourceUnavailable:
        return SourceUnavailable(
            f"candles of {self._name} are stored up to {stored_until}, but {contradiction}: it is another"
            " market, so give it another name by MARKETDATA_SOURCE"
        )

    @property
    def _name(self) -> str:
        return f"{self.symbol.symbol} {self.interval.value} s"
