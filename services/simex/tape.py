"""The tape: all trades of one symbol, past and future, as a function of time alone."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar
from zlib import crc32

import numpy as np

from services.simex.columns import Candles, Trades
from services.simex.instrument import Instrument
from services.simex.synthesis import Bars, Prints, make_prints, make_trades

DAY_MS = 86_400_000
HOUR_MS = 3_600_000

_Value = TypeVar("_Value")


class Tape(Protocol):
    """Trades of one symbol by *position*: the number of trades before them since the tape's start.

    A tape knows the future; whoever shows it to a client cuts it at the exchange's clock. Positions asked of :meth:`at`
    are those that :meth:`position` has given.
    """

    instrument: Instrument
    base_ms: int
    """Length of the candles that the tape can give without making their trades; 0 when there are none."""
    start_ms: int
    end_ms: int | None
    """When trading ends, or None when it never does."""

    def position(self, before_ms: int) -> int:
        """How many trades happened before ``before_ms``."""

    def position_of(self, trade_id: int) -> int:
        """The position of the first trade whose id is at least ``trade_id``."""

    def at(self, first: int, last: int) -> Trades:
        """The trades at positions ``first`` up to but not including ``last``."""

    def candles(self, start_ms: int, end_ms: int) -> Candles:
        """The base candles that open from ``start_ms`` up to but not including ``end_ms``."""


class BarSource(Protocol):
    """Base candles of one symbol: recorded or invented."""

    base_ms: int
    start_ms: int
    end_ms: int | None

    def until(self, end_ms: int) -> Bars:
        """All bars from the start on, at least those that open before ``end_ms``."""


class CandleTape:
    """A tape synthesised from base candles.

    Ids are dense and start at 1: a bar fixes its number of trades, so the id of any trade is a running sum over bars,
    and no earlier trade has to be made to know it. Prints are made by the day, trades by the hour, each from a
    generator seeded with the market's seed, the symbol and that day or hour; recent ones are kept.
    """

    def __init__(self, instrument: Instrument, source: BarSource, seed: int) -> None:
        self.instrument = instrument
        self.base_ms, self.start_ms, self.end_ms = source.base_ms, source.start_ms, source.end_ms
        self._source = source
        self._seed = (seed, crc32(instrument.symbol.encode()))
        self._span_ms = max(HOUR_MS, self.base_ms)
        self._prints: Recent[Prints] = Recent(8, self._make_prints)
        self._trades: Recent[Trades] = Recent(48, self._make_trades)
        self._candles: Recent[Candles] = Recent(4000, self._make_candles)

    def position(self, before_ms: int) -> int:
        """How many trades happened before ``before_ms``."""
        span = before_ms // self._span_ms
        first = self._bars_before(span * self._span_ms)
        return first + int(np.searchsorted(self._trades(span).times_ms, before_ms))

    def position_of(self, trade_id: int) -> int:
        """The position of the first trade whose id is at least ``trade_id``."""
        return max(0, trade_id - 1)

    def at(self, first: int, last: int) -> Trades:
        """The trades at positions ``first`` up to but not including ``last``."""
        if first >= last:
            return Trades.none()
        bars = self._source.until(self.start_ms)
        ends = np.searchsorted(bars.position, [first, last - 1], side="right") - 1
        spans = bars.open_ms[ends] // self._span_ms
        trades = Trades.concatenate([self._trades(span) for span in range(int(spans[0]), int(spans[1]) + 1)])
        offset = int(trades.ids[0]) - 1
        return trades[first - offset : last - offset]

    def candles(self, start_ms: int, end_ms: int) -> Candles:
        """The base candles that open from ``start_ms`` up to but not including ``end_ms``."""
        days = range(start_ms // DAY_MS, -(-end_ms // DAY_MS))
        if not days:
            return Candles.of_trades(Trades.none())
        candles = Candles.concatenate([self._candles(day) for day in days])
        first, last = np.searchsorted(candles.open_ms, [start_ms, end_ms])
        return candles[first:last]

    def _bars(self, start_ms: int, end_ms: int) -> Bars:
        bars = self._source.until(end_ms)
        first, last = np.searchsorted(bars.open_ms, [start_ms, end_ms])
        return bars[first:last]

    def _bars_before(self, end_ms: int) -> int:
        """How many trades the bars that open before ``end_ms`` hold."""
        bars = self._source.until(end_ms)
        after = int(np.searchsorted(bars.open_ms, end_ms))
        return int(bars.position[after - 1] + bars.trades[after - 1]) if after else 0

    def _make_prints(self, day: int) -> Prints:
        bars = self._bars(day * DAY_MS, (day + 1) * DAY_MS)
        return make_prints(bars, self.base_ms, np.random.default_rng((*self._seed, 0, day)))

    def _make_trades(self, span: int) -> Trades:
        start_ms = span * self._span_ms
        prints = self._prints(start_ms // DAY_MS)
        first, last = np.searchsorted(prints.times_ms, [start_ms, start_ms + self._span_ms])
        rng = np.random.default_rng((*self._seed, 1, span))
        return make_trades(prints[first:last], self._bars_before(start_ms) + 1, self.base_ms, rng)

    def _make_candles(self, day: int) -> Candles:
        bars, prints = self._bars(day * DAY_MS, (day + 1) * DAY_MS), self._prints(day)
        made = Candles.of_trades(
            Trades(prints.times_ms, prints.times_ms, prints.prices, prints.quantities, prints.taker_buys)
        ).grouped(self.base_ms)
        return Candles(
            made.open_ms,
            made.open,
            made.high,
            made.low,
            made.close,
            made.volume,
            made.quote_volume,
            bars.trades,
            made.taker_volume,
            made.taker_quote_volume,
            bars.position + 1,
            bars.position + bars.trades,
        )


class Recent(Generic[_Value]):
    """A function of an integer that remembers its most recently used results."""

    def __init__(self, size: int, make: Callable[[int], _Value]) -> None:
        self._size = size
        self._make = make
        self._kept: OrderedDict[int, _Value] = OrderedDict()

    def __call__(self, key: int) -> _Value:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        value = self._kept[key] = self._make(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return value
