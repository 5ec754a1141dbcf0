"""The stored candles of one symbol and interval: a line that grows at its end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile

from services.marketdata.domain.builder import Built
from services.marketdata.domain.market import Candle, Interval, Origin


@dataclass(frozen=True)
class Progress:
    """How far the history of a series has been fetched."""

    symbol: str
    interval: Interval
    start_time: datetime
    """Open time of the first candle wanted, or of the first that the source has."""
    end_time: datetime
    """Open time of the last candle wanted."""
    total: int
    stored: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time, [start, end)."""

    start: datetime
    end: datetime


class CandleSeries:
    """Decides which candle comes next, and from where; knows what is stored, and stores nothing itself.

    Candles built from trades are used where there are any. What is missing before them is asked of the source, which is
    believed about an interval once the watermark, a time that the source's clock has passed for sure, is beyond it. So
    a series of which the source has candles has no holes; another one has a hole where trades are missing, until they
    come.
    """

    def __init__(self, symbol: str, interval: Interval, start: datetime, next_open: datetime, last: Candle | None):
        self.symbol = symbol
        self.interval = interval
        self.start = start
        """Open time of the first candle."""
        self.next_open = next_open
        """Open time of the first candle that is not stored."""
        self.last = last
        """The candle before it; None where there is none."""
        self._built: dict[datetime, Candle] = {}
        self._doubtful: list[Span] = []
        self._looked_at: Span | None = None
        """The doubt that ``doubtful`` told last; what is doubted again meanwhile is another one."""

    def offer(self, built: Built) -> None:
        """Take in what a builder made of new trades."""
        for candle in built.candles:
            if candle.open_time >= self.next_open:
                self._built[candle.open_time] = candle
        for open_time in built.doubtful:
            self.doubt(Span(open_time, open_time + self.interval.length))

    def doubt(self, span: Span) -> None:
        """What is stored of ``span``, or is being stored, may be wrong or missing."""
        span = Span(self.interval.floor(span.start), self._ceiling(span.end))
        if not any(span == doubt and doubt is not self._looked_at for doubt in self._doubtful):
            self._doubtful.append(span)
        for open_time in [time for time in self._built if span.start <= time < span.end]:
            del self._built[open_time]
        # What follows without trades has the price of what is wrong.
        following = span.end
        while (candle := self._built.get(following)) is not None and not candle.volume:
            following = self._built.pop(following).close_time

    def ready(self) -> list[Candle]:
        """The candles built from trades that come next."""
        candles: list[Candle] = []
        open_time = self.next_open
        while (candle := self._built.get(open_time)) is not None:
            candles.append(candle)
            open_time = candle.close_time
        return candles

    def is_behind(self, watermark: datetime) -> bool:
        """Whether the next candle is over and was not built."""
        return self.next_open + self.interval.length <= watermark and self.next_open not in self._built

    def joined(self, before: Candle | None, candles: Sequence[Candle], end: datetime) -> list[Candle]:
        """The candles that come next up to ``end``, before which all trades are known: ``candles``, and quiet ones.

        ``before`` is what is known of the trades before them; if it is nothing, the first of ``candles`` comes first.
        """
        line = [each for each in filled(before, candles, end, Origin.TRADES) if each.open_time >= self.next_open]
        return list(takewhile(lambda candle: candle.open_time not in self._built, line))

    def filled_from(self, page: Sequence[Candle], watermark: datetime) -> list[Candle]:
        """The candles that come next by ``page``: the source's candles from ``next_open`` on, by time.

        Where the source has none between two others, nothing was traded. After its last one, nothing is known.
        """
        over = [candle for candle in page if candle.open_time >= self.next_open and candle.close_time <= watermark]
        later = [open_time for open_time in self._built if open_time + self.interval.length <= watermark]
        if over:
            line = filled(self.last, over, over[-1].close_time, Origin.SOURCE)
        else:
            line = [] if self.last is None or not later else self.last.quiet_until(min(later), Origin.SOURCE)
        return list(takewhile(lambda candle: candle.open_time not in self._built, line))

    def skip_to(self, open_time: datetime) -> None:
        """Go on later: nothing is known of what is before ``open_time``."""
        if self.is_empty:
            self.start = open_time
        self.next_open, self.last = open_time, None
        self._built = {time: candle for time, candle in self._built.items() if time >= open_time}

    @property
    def next_built(self) -> datetime | None:
        """Open time of the first candle that was built and is not stored."""
        return min(self._built, default=None)

    @property
    def is_empty(self) -> bool:
        """Whether no candle is stored yet."""
        return self.start == self.next_open

    def stored(self, candles: Iterable[Candle]) -> None:
        """``candles``, which came next, are stored now."""
        for candle in candles:
            if self.is_empty:
                self.start = candle.open_time
            self.last = candle
            self.next_open = candle.close_time
        self._built = {time: candle for time, candle in self._built.items() if time >= self.next_open}

    def doubtful(self, watermark: datetime) -> Span | None:
        """A span of whole intervals that are stored, and over, and have to be looked at again."""
        for doubt in self._doubtful:
            end = min(doubt.end, self.interval.floor(watermark), self.next_open)
            if doubt.start < end:
                self._looked_at = doubt
                return Span(doubt.start, end)
        return None

    @property
    def is_in_doubt(self) -> bool:
        """Whether anything has to be looked at again, now or when it is stored and over."""
        return bool(self._doubtful)

    def settled(self, until: datetime, candles: Iterable[Candle] = ()) -> None:
        """What ``doubtful`` told has been looked at up to ``until``; ``candles`` were corrected."""
        self._doubtful = [doubt for doubt in self._doubtful if doubt is not self._looked_at]
        if self._looked_at is not None and until < self._looked_at.end:
            self._doubtful.append(Span(until, self._looked_at.end))
        self._looked_at = None
        for candle in candles:
            if self.last is not None and self.last.open_time == candle.open_time:
                self.last = candle

    def progress(self, watermark: datetime, *, complete: bool) -> Progress:
        """How far the series is, when the source's clock shows ``watermark``."""
        length = self.interval.length
        end = max(self.interval.floor(watermark), self.next_open)
        total = (end - self.start) // length
        stored = (self.next_open - self.start) // length
        return Progress(self.symbol, self.interval, self.start, end - length, total, stored, complete)

    def _ceiling(self, moment: datetime) -> datetime:
        floor = self.interval.floor(moment)
        return floor if floor == moment else floor + self.interval.length


def filled(last: Candle | None, candles: Sequence[Candle], end: datetime, origin: Origin) -> list[Candle]:
    """``candles``, which follow ``last``, with those without trades between them and up to ``end``."""
    line: list[Candle] = []
    for candle in candles:
        line += [*([] if last is None else last.quiet_until(candle.open_time, origin)), candle]
        last = candle
    return line if last is None else [*line, *last.quiet_until(end, origin)]


def corrected_quiet(last: Candle, following: Iterable[Candle]) -> list[Candle]:
    """The candles without trades among ``following``, up to the first with any, as they are after ``last``."""
    quiet = takewhile(lambda candle: not candle.volume and candle.close != last.close, following)
    return [last.flat_at(candle.open_time, candle.origin) for candle in quiet]


def revised(known: Candle | None, candle: Candle) -> Candle:
    """``candle`` as it is stored in the place of ``known``: the next revision if it is another one."""
    if known is None:
        return replace(candle, revision=0, sequence=0)
    if known != candle:
        return replace(candle, revision=known.revision + 1, sequence=0)
    origin = known.origin if candle.origin is Origin.SOURCE else candle.origin
    return replace(known, origin=origin)
