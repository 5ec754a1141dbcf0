"""The market as clients may see it: the tapes up to the exchange's clock, and nothing beyond."""

from dataclasses import dataclass

import numpy as np

from services.simex.clock import Clock
from services.simex.columns import Candles, Ints, Trades
from services.simex.instrument import Instrument
from services.simex.tape import DAY_MS, Tape

_EVER = 2**62


@dataclass(frozen=True)
class DayStatistics:
    """The last 24 hours of a symbol: one candle over all of it, and the price before it."""

    start_ms: int
    end_ms: int
    candle: Candles
    previous_close: int


class Listing:
    """One symbol of the market."""

    def __init__(self, tape: Tape, clock: Clock) -> None:
        self.instrument: Instrument = tape.instrument
        self._tape = tape
        self._clock = clock

    @property
    def start_ms(self) -> int:
        """When trading began."""
        return self._tape.start_ms

    @property
    def end_ms(self) -> int:
        """When trading ends; far in the future when it does not."""
        return _EVER if self._tape.end_ms is None else self._tape.end_ms

    def is_open(self) -> bool:
        """Whether trading goes on now."""
        return self.start_ms <= self._clock.now_ms() < self.end_ms

    def seen_until(self) -> int:
        """The first millisecond that has not happened."""
        return min(self._clock.now_ms() + 1, self.end_ms)

    def count(self, before_ms: int) -> int:
        """How many trades happened before ``before_ms``, as far as they have happened."""
        before_ms = min(before_ms, self.seen_until())
        return 0 if before_ms <= self.start_ms else self._tape.position(before_ms)

    def trades(self, start_ms: int, end_ms: int) -> Trades:
        """The trades from ``start_ms`` up to but not including ``end_ms``."""
        return self._tape.at(self.count(start_ms), self.count(end_ms))

    def first_trades(self, start_ms: int, end_ms: int, limit: int) -> Trades:
        """The first ``limit`` trades from ``start_ms`` up to but not including ``end_ms``."""
        first = self.count(start_ms)
        return self._tape.at(first, min(first + limit, self.count(end_ms)))

    def last_trades(self, limit: int, end_ms: int = _EVER) -> Trades:
        """The last ``limit`` trades before ``end_ms``."""
        last = self.count(end_ms)
        return self._tape.at(max(0, last - limit), last)

    def trades_from(self, trade_id: int, limit: int) -> Trades:
        """The first ``limit`` trades whose id is at least ``trade_id``."""
        last = self.count(_EVER)
        first = min(self._tape.position_of(trade_id), last)
        return self._tape.at(first, min(first + limit, last))

    def day(self) -> DayStatistics:
        """The last 24 hours; its candle has no rows when nothing was traded."""
        end_ms = self._clock.now_ms() + 1
        start_ms = end_ms - DAY_MS
        rows = self._rows(start_ms, end_ms, self._tape.base_ms)
        return DayStatistics(
            start_ms, end_ms - 1, rows.merged(np.zeros(len(rows), np.int64)), self._close_before(start_ms, rows)
        )

    def klines(self, interval_ms: int, start_ms: int, end_ms: int) -> Candles:
        """The candles of ``interval_ms`` that open from ``start_ms`` up to but not including ``end_ms``.

        The last may still be forming. An interval without trades is flat at the price before it, with no volume.
        """
        first_ms = max(start_ms, self.start_ms) // interval_ms * interval_ms
        first_ms += interval_ms if first_ms < start_ms else 0
        last_ms = (min(end_ms, self.seen_until()) - 1) // interval_ms * interval_ms
        if first_ms > last_ms:
            return Candles.of_trades(Trades.none())
        base_ms = self._tape.base_ms
        usable = base_ms if base_ms and interval_ms % base_ms == 0 else 0
        traded = self._rows(first_ms, last_ms + interval_ms, usable).grouped(interval_ms)
        opens = np.arange(first_ms, last_ms + 1, interval_ms)
        if len(traded) == len(opens):
            return traded
        return _with_flat(traded, opens, self._close_before(first_ms, traded))

    def last_klines(self, interval_ms: int, limit: int, end_ms: int = _EVER) -> Candles:
        """The last ``limit`` candles of ``interval_ms`` that open before ``end_ms``."""
        last_ms = (min(end_ms, self.seen_until()) - 1) // interval_ms * interval_ms
        return self.klines(interval_ms, last_ms - (limit - 1) * interval_ms, last_ms + 1)

    def _rows(self, start_ms: int, end_ms: int, base_ms: int) -> Candles:
        """What happened between two times, by base candles of ``base_ms`` where they fit and by trades elsewhere."""
        start_ms, end_ms = max(start_ms, self.start_ms), min(end_ms, self.seen_until())
        if base_ms:
            first, last = -(-start_ms // base_ms) * base_ms, end_ms // base_ms * base_ms
            if first < last:
                parts = (
                    Candles.of_trades(self.trades(start_ms, first)),
                    self._tape.candles(first, last),
                    Candles.of_trades(self.trades(last, end_ms)),
                )
                return Candles.concatenate(parts)
        return Candles.of_trades(self.trades(start_ms, end_ms))

    def _close_before(self, before_ms: int, following: Candles) -> int:
        """The last price before ``before_ms``, or the first of ``following`` where nothing was traded yet."""
        before = self.last_trades(1, before_ms)
        if len(before):
            return int(before.prices[-1])
        return int(following.open[0]) if len(following) else 0


def _with_flat(traded: Candles, opens: Ints, close_before: int) -> Candles:
    """Candles at all ``opens``: those ``traded``, and flat ones between them."""
    before = np.searchsorted(traded.open_ms, opens, side="right") - 1
    closes = np.where(before >= 0, np.append(traded.close, 0)[before], close_before)
    hit = np.isin(opens, traded.open_ms)

    def column(values: Ints, otherwise: Ints) -> Ints:
        filled = np.where(hit, 0, otherwise).astype(values.dtype)
        filled[hit] = values
        return filled

    none, no_id = np.zeros(len(opens), np.int64), np.full(len(opens), -1)
    return Candles(
        opens,
        column(traded.open, closes),
        column(traded.high, closes),
        column(traded.low, closes),
        column(traded.close, closes),
        column(traded.volume, none),
        column(traded.quote_volume, none),
        column(traded.trades, none),
        column(traded.taker_volume, none),
        column(traded.taker_quote_volume, none),
        column(traded.first_id, no_id),
        column(traded.last_id, no_id),
    )


class Market:
    """All symbols of the exchange under one clock."""

    def __init__(self, tapes: list[Tape], clock: Clock) -> None:
        self.clock = clock
        self.listings = {tape.instrument.symbol: Listing(tape, clock) for tape in tapes}
