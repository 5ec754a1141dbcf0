"""Candles whose interval goes on."""

from collections import deque
from datetime import datetime

from services.marketdata.domain.builder import Bucket
from services.marketdata.domain.market import Candle, Interval, Origin, Trade, total
from services.marketdata.domain.roll_up import PART, ROLLED_UP

_PARTS = Interval.ONE_DAY.value // PART.value
_BUILT = (Interval.ONE_SECOND, Interval.FIVE_SECONDS, Interval.ONE_MINUTE, PART)
_REMEMBERED = 1_000
"""How many trades of a symbol are remembered, to know those that come twice."""


class _Forming:
    """The newest trades of one symbol, summed up, and the complete parts of its day."""

    def __init__(self) -> None:
        self.buckets: dict[Interval, Bucket] = {}
        self.parts: dict[datetime, Candle] = {}
        self._known: set[str] = set()
        self._known_in_order: deque[str] = deque()

    def add(self, trade: Trade) -> None:
        if trade.trade_id in self._known:
            return
        self._known.add(trade.trade_id)
        self._known_in_order.append(trade.trade_id)
        if len(self._known_in_order) > _REMEMBERED:
            self._known.discard(self._known_in_order.popleft())
        for interval in _BUILT:
            bucket = self.buckets.get(interval)
            open_time = interval.floor(trade.trade_time)
            if bucket is None or open_time > bucket.open_time:
                self.buckets[interval] = Bucket(trade, interval)
            elif open_time == bucket.open_time:
                bucket.add(trade)

    def add_part(self, part: Candle) -> None:
        self.parts[part.open_time] = part
        if len(self.parts) > _PARTS:
            del self.parts[min(self.parts)]


class FormingCandles:
    """The candle of each symbol and interval that contains its newest trade, as far as trades have come.

    Fed with trades, and with the complete candles of five minutes, of which the longer ones are made. What comes twice
    counts once, and what comes late counts as long as the candle goes on.
    """

    def __init__(self) -> None:
        self._symbols: dict[str, _Forming] = {}

    def add_trade(self, trade: Trade) -> None:
        """A trade has been stored."""
        self._forming(trade.symbol).add(trade)

    def add_candle(self, candle: Candle) -> None:
        """A candle is complete, or was corrected."""
        if candle.interval is PART:
            self._forming(candle.symbol).add_part(candle)

    def current(self, symbol: str, interval: Interval) -> Candle | None:
        """The candle that contains the newest trade; None before the first.

        When its time is over it stays until the next trade: it is still forming only if it opens later than the newest
        complete candle of its interval.
        """
        forming = self._symbols.get(symbol)
        if forming is None or PART not in forming.buckets:
            return None
        if interval not in ROLLED_UP:
            return forming.buckets[interval].candle()
        newest = forming.buckets[PART].candle()
        open_time = interval.floor(newest.open_time)
        before = [part for time, part in sorted(forming.parts.items()) if open_time <= time < newest.open_time]
        return _joined([*before, newest], interval, open_time)

    def _forming(self, symbol: str) -> _Forming:
        return self._symbols.setdefault(symbol, _Forming())


def _joined(parts: list[Candle], interval: Interval, open_time: datetime) -> Candle:
    return Candle(
        parts[0].symbol,
        interval,
        open_time,
        parts[0].open,
        max(part.high for part in parts),
        min(part.low for part in parts),
        parts[-1].close,
        total([part.volume for part in parts]),
        Origin.ROLL_UP,
    )
