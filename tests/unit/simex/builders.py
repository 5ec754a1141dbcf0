"""Markets, orders and files for the tests of simex."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from services.simex.book import BookMaker
from services.simex.market import Listing, Market
from services.simex.replay import read_replay
from services.simex.stochastic import StochasticMarket
from services.simex.synthesis import Bars, needed_prints
from services.simex.tape import CandleTape, Tape

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
MONDAY_MS = 1_717_977_600_000
"""2024-06-10 00:00 UTC."""


class HandClock:
    """A clock that moves only when it is told to."""

    speed = 1.0

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """The time it was set to."""
        return self._now_ms

    def advance(self, milliseconds: int) -> None:
        """Move on."""
        self._now_ms += milliseconds


Bar = tuple[int, float, float, float, float, float]
"""Opening time, open, high, low, close and volume."""


def a_stochastic_market(*, days: float = 1.5, seed: int = 7) -> tuple[Market, HandClock]:
    """Two invented symbols, with ``days`` of history."""
    prices = {"BTC-USDT": Decimal(60000), "ETH-USDT": Decimal(2500)}
    made = StochasticMarket(prices, seed, MONDAY_MS)
    tapes: list[Tape] = [CandleTape(made.instrument(name), source, seed) for name, source in made.sources.items()]
    clock = HandClock(MONDAY_MS + int(days * DAY_MS))
    return Market(tapes, clock), clock


def a_replay(path: Path, now_ms: int, *, seed: int = 7) -> tuple[Market, HandClock]:
    """The market of the files in ``path`` at ``now_ms``."""
    clock = HandClock(now_ms)
    return Market(read_replay(path, seed), clock), clock


def a_listing(path: Path, now_ms: int = MONDAY_MS + 30 * DAY_MS) -> Listing:
    """The first symbol of the files in ``path``, long after they end."""
    return next(iter(a_replay(path, now_ms)[0].listings.values()))


def the_books(market: Market, seed: int = 7) -> dict[str, BookMaker]:
    """Makers of all books of ``market``."""
    return {symbol: BookMaker(listing, seed, market.clock.speed) for symbol, listing in market.listings.items()}


def write_candles(path: Path, bars: Sequence[Bar]) -> Path:
    """A candle file of ``bars``."""
    names = ("ts", "open", "high", "low", "close", "volume")
    columns = dict(zip(names, zip(*bars, strict=True), strict=True))
    kinds = [pa.int64()] + [pa.float64()] * 5
    pq.write_table(pa.table([pa.array(columns[n], k) for n, k in zip(names, kinds, strict=True)], names=names), path)
    return path


def write_trades(path: Path, rows: Sequence[tuple[int, int, float, float, int]]) -> Path:
    """A trade file of (ts, trade_id, price, qty, side)."""
    names = ("ts", "trade_id", "price", "qty", "side")
    pq.write_table(pa.table([pa.array(column) for column in zip(*rows, strict=True)], names=names), path)
    return path


def base_bars(rows: Sequence[tuple[int, int, int, int, int]], base_ms: int, *, prints: int, trades: int) -> Bars:
    """Bars of (open, high, low, close, volume) with about as many prints and trades as asked for."""
    opens, highs, lows, closes, volume = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    needed = needed_prints(opens, highs, lows, closes)
    volume = np.maximum(volume, needed)
    prints_of = np.minimum(np.maximum(needed, prints), volume)
    trades_of = np.minimum(np.maximum(prints_of, trades), volume)
    open_ms = MONDAY_MS + np.arange(len(rows)) * base_ms
    position = np.cumsum(trades_of) - trades_of
    return Bars(open_ms, opens, highs, lows, closes, volume, prints_of, trades_of, position)
