"""Candles out of trades."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from services.marketdata.domain.market import Candle, Interval, Origin, Trade, total
from services.marketdata.domain.sequence import Break, Step


@dataclass
class Built:
    """What came out of some steps."""

    candles: list[Candle] = field(default_factory=list)
    """Complete candles, by time."""
    doubtful: list[datetime] = field(default_factory=list)
    """Open times of intervals that were closed and turn out to have had other trades than we knew."""


class Bucket:
    """The trades of one interval, summed up in whatever order they come."""

    __slots__ = ("_first", "_high", "_last", "_low", "_volume", "interval", "open_time")

    def __init__(self, first: Trade, interval: Interval) -> None:
        self.interval = interval
        self.open_time = interval.floor(first.trade_time)
        self._first = self._last = first
        self._high = self._low = first.price
        self._volume = first.quantity

    def add(self, trade: Trade) -> None:
        """One more trade of the interval."""
        if trade.trade_time > self._last.trade_time or trade.place > self._last.place:
            self._last = trade
        elif trade.place < self._first.place:
            self._first = trade
        if trade.price > self._high:
            self._high = trade.price
        elif trade.price < self._low:
            self._low = trade.price
        self._volume = total([self._volume, trade.quantity])

    @property
    def close_time(self) -> datetime:
        """When the interval ends."""
        return self.open_time + self.interval.length

    def candle(self) -> Candle:
        """The candle of the trades so far."""
        return Candle(
            self._first.symbol,
            self.interval,
            self.open_time,
            self._first.price,
            self._high,
            self._low,
            self._last.price,
            self._volume,
            Origin.TRADES,
        )


class CandleBuilder:
    """Builds the candles of one symbol and interval from its trades in order, and only those of which it saw every one.

    A candle is complete when a trade of a later interval shows it, or when the watermark has passed its end: the
    intervals in between had no trades, and are flat. An interval that contains a Break, or the first trade after one,
    is not built; neither is one without trades of which nothing but the clock says that it is over.
    """

    def __init__(self, interval: Interval) -> None:
        self.interval = interval
        self._forming: Bucket | None = None
        self._whole = False
        """Whether all trades of the forming candle were seen."""
        self._handed_out = False
        """Whether the watermark has closed the forming candle."""
        self._broken = True
        """Whether trades may be missing after the newest one."""

    def add(self, steps: Iterable[Step]) -> Built:
        """Take in what happened; the result holds the candles that it completes."""
        built = Built()
        for step in steps:
            if isinstance(step, Break):
                self._break(built)
            else:
                self._trade(step, built)
        return built

    def add_late(self, trade: Trade) -> Built:
        """Take in a trade that comes before others that were added."""
        built = Built()
        forming = self._forming
        if forming is not None and forming.open_time == self.interval.floor(trade.trade_time):
            forming.add(trade)
            if self._handed_out:
                built.doubtful.append(forming.open_time)
        else:
            built.doubtful.append(self.interval.floor(trade.trade_time))
        return built

    def close(self, watermark: datetime) -> Built:
        """Complete the candle that ended at or before ``watermark``, by the source's clock."""
        built = Built()
        if self._forming is not None and self._forming.close_time <= watermark:
            self._hand_out(built)
        return built

    def _break(self, built: Built) -> None:
        if self._forming is not None and self._handed_out and not self._broken:
            # The trades that are missing may belong to the candle that only the clock had closed.
            built.doubtful.append(self._forming.open_time)
        self._whole = False
        self._broken = True

    def _trade(self, trade: Trade, built: Built) -> None:
        forming = self._forming
        open_time = self.interval.floor(trade.trade_time)
        if forming is not None and open_time < forming.open_time:
            built.doubtful.append(open_time)
        elif forming is not None and open_time == forming.open_time:
            if self._handed_out:
                built.doubtful.append(open_time)
            forming.add(trade)
        else:
            if forming is not None and not self._broken:
                self._hand_out(built)
                built.candles += forming.candle().quiet_until(open_time, Origin.TRADES)
            self._forming = Bucket(trade, self.interval)
            self._whole, self._handed_out = not self._broken, False
        self._broken = False

    def _hand_out(self, built: Built) -> None:
        if self._forming is not None and self._whole and not self._handed_out:
            built.candles.append(self._forming.candle())
        self._handed_out = True
