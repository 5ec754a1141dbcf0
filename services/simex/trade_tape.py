"""A tape of recorded trades."""

import numpy as np

from services.simex.columns import Candles, Trades
from services.simex.instrument import Instrument


class TradeTape:
    """Recorded trades with their own ids, ordered by id and by time; candles come from the trades alone."""

    base_ms = 0

    def __init__(self, instrument: Instrument, trades: Trades) -> None:
        self.instrument = instrument
        self.start_ms = int(trades.times_ms[0])
        self.end_ms: int | None = int(trades.times_ms[-1]) + 1
        self._trades = trades

    def position(self, before_ms: int) -> int:
        """How many trades happened before ``before_ms``."""
        return int(np.searchsorted(self._trades.times_ms, before_ms))

    def position_of(self, trade_id: int) -> int:
        """The position of the first trade whose id is at least ``trade_id``."""
        return int(np.searchsorted(self._trades.ids, trade_id))

    def at(self, first: int, last: int) -> Trades:
        """The trades at positions ``first`` up to but not including ``last``."""
        return self._trades[first:last]

    def candles(self, start_ms: int, end_ms: int) -> Candles:
        """No candles: there are no base candles beside the trades."""
        raise NotImplementedError(f"recorded trades have no base candles between {start_ms} and {end_ms}")
