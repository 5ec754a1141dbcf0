"""The stored candles of one symbol and interval: a line without holes that grows at its end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


class CandleSeries:
    """Decides which candle comes next, and from where; knows what is stored, and stores nothing itself.

    Candles built from trades are used where there are any; what is missing before them is asked of the source, which is
    believed about an interval once the watermark, a time that the source's clock has passed for sure, is beyond it.
    """

    def __init__(self, symbol: str, interval: Interval, start: datetime, next_open: datetime, last: Candle | None):
        self.symbol = symbol
        self.interval = interval
        self.start = start
        """Open time of the first candle."""
        self.next_open = next_open
        """Open time of the first candle that is not stored."""
        self._last = last
        self._built: dict[datetime, Candle] = {}
        self._doubtful: set[datetime] = set()

    def offer(self, built: Built) -> None:
        """Take in what a builder made of new trades."""
        for candle in built.candles:
            if candle.open_time >= self.next_open:
                self._built[candle.open_time] = candle
        for open_time in built.doubtful:
            if open_time < self.next_open:
                self._doubtful.add(open_time)
            self._built.pop(open_time, None)

    def ready(self) -> list[Candle]:
        """The candles built from trades that come next."""
        candles: list[Candle] = []
        open_time = self.next_open
        while (candle := self._built.get(open_time)) is not None:
            candles.append(candle)
            open_time = candle.close_time
        return candles

    def is_behind(self, watermark: datetime) -> bool:
        """Whether the next candle is over and has to come from the source."""
        return self.next_open + self.interval.length <= watermark and self.next_open not in self._built

    def filled_from(self, page: Sequence[Candle], watermark: datetime) -> list[Candle]:
        """The candles that come next by ``page``: the source's candles from ``next_open`` on, by time.

        Where the source has none between two others, nothing was traded. After its last one, nothing is known.
        """
        later = [open_time for open_time in self._built if open_time + self.interval.length <= watermark]
        line: list[Candle] = []
        last = self._last
        for candle in page:
            if candle.open_time >= self.next_open and candle.close_time <= watermark:
                line += [*([] if last is None else last.quiet_until(candle.open_time, Origin.SOURCE)), candle]
                last = candle
        if not line and later and last is not None:
            line = last.quiet_until(min(later), Origin.SOURCE)
        return list(takewhile(lambda candle: candle.open_time not in self._built, line))

    def skip_to(self, open_time: datetime) -> None:
        """Begin later: the source has nothing before ``open_time``."""
        self.start = self.next_open = open_time
        self._built = {time: candle for time, candle in self._built.items() if time >= open_time}

    @property
    def is_empty(self) -> bool:
        """Whether no candle is stored yet."""
        return self._last is None

    def stored(self, candles: Iterable[Candle]) -> None:
        """``candles``, which came next, are stored now."""
        for candle in candles:
            if candle.origin is Origin.TRADES and candle.open_time not in self._built:
                # It became doubtful while it was being stored.
                self._doubtful.add(candle.open_time)
            if self._last is None:
                self.start = candle.open_time
            self._last = candle
            self.next_open = candle.close_time
        self._built = {time: candle for time, candle in self._built.items() if time >= self.next_open}

    def doubtful(self, watermark: datetime) -> datetime | None:
        """Open time of a stored candle that has to be read again from the source."""
        due = (time for time in self._doubtful if time + self.interval.length <= watermark)
        return min(due, default=None)

    def settled(self, open_time: datetime, candle: Candle | None) -> None:
        """The doubtful candle is stored as ``candle`` now; None when the source has none other."""
        self._doubtful.discard(open_time)
        if candle is not None and self._last is not None and self._last.open_time == open_time:
            self._last = candle

    def progress(self, watermark: datetime, *, complete: bool) -> Progress:
        """How far the series is, when the source's clock shows ``watermark``."""
        length = self.interval.length
        end = max(self.interval.floor(watermark), self.next_open)
        total = (end - self.start) // length
        stored = (self.next_open - self.start) // length
        return Progress(self.symbol, self.interval, self.start, end - length, total, stored, complete)
