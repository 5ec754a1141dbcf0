"""Trades made of candles: together they are the candle again, to the last digit.

Two steps. A day of candles becomes *prints*: moments at which somebody took from the book, whose open, high,
low, close and volume are those of each candle. A print becomes one or more *trades* at its price: one taker
meets several makers. Sums over prints are sums over trades, so candles of history never need the trades.
Both are vectorised over many candles and depend on nothing but their arguments.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.simex.columns import Bools, Columns, Ints, Trades

Floats = npt.NDArray[np.float64]

MINUTE_MS = 60_000
_SOME = 1e-6
"""Keeps every weight of a split positive."""
_BURST_GAP_MS = 12.0
"""Mean time between two trades of one print."""


@dataclass(frozen=True)
class Bars(Columns):
    """Base candles with the number of prints and trades they are made of; each has at least one trade.

    ``position`` counts the trades of all earlier bars. Every bar needs ``needed_prints <= prints <= trades <= volume``.
    """

    open_ms: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    prints: Ints
    trades: Ints
    position: Ints


@dataclass(frozen=True)
class Prints(Columns):
    """Moments at which a taker traded; ``makers`` is the number of trades it gives."""

    times_ms: Ints
    prices: Ints
    quantities: Ints
    taker_buys: Bools
    makers: Ints

    @classmethod
    def none(cls) -> "Prints":
        """No prints."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty, np.empty(0, np.bool_), empty)


def needed_prints(opens: Ints, highs: Ints, lows: Ints, closes: Ints) -> Ints:
    """The fewest prints that can visit open, high, low and close in order."""
    moves = opens != closes
    high_inside = (highs > opens) & (highs > closes)
    low_inside = (lows < opens) & (lows < closes)
    # A single price needs one print; open = close with an excursion needs a print before and after it.
    needed = 1 + (moves | high_inside | low_inside) + high_inside.astype(np.int64) + low_inside
    return np.asarray(needed, np.int64)


def split(totals: Ints, counts: Ints, weights: Floats) -> Ints:
    """Share each of ``totals`` among its ``counts`` parts in proportion to positive ``weights``.

    ``weights`` holds the parts of all totals one after the other, ``counts.sum()`` of them; parts are
    integers >= 0 and those of each total, which is below 2^53, add up to it exactly.
    """
    ends = np.cumsum(counts)
    starts = ends - counts
    running = np.cumsum(weights)
    before = np.where(starts > 0, running[starts - 1], 0.0)
    within = running - np.repeat(before, counts)
    whole = np.repeat(totals, counts)
    # The last share of each total is a number divided by itself: exactly 1.
    edges = np.floor(within / np.repeat(within[ends - 1], counts) * whole).astype(np.int64)
    lower = np.concatenate(([0], edges[:-1]))
    lower[starts] = 0
    return np.asarray(edges - lower, np.int64)


def make_prints(bars: Bars, base_ms: int, rng: np.random.Generator) -> Prints:
    """The prints of ``bars``, ordered by time, each strictly inside its bar of ``base_ms``."""
    if not len(bars):
        return Prints.none()
    counts, total = bars.prints, int(bars.prints.sum())
    bar = np.repeat(np.arange(len(bars)), counts)
    rank = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    times = _times(bars, base_ms, bar, rank, rng)
    prices = _path(bars, bar, rank, rng)
    makers = 1 + split(bars.trades - counts, counts, rng.exponential(size=total) + _SOME)
    sizes = makers + split(bars.volume - bars.trades, counts, rng.lognormal(0.0, 1.3, total) * makers)
    moved = np.sign(np.diff(prices, prepend=prices[:1]))
    taker_buys = rng.random(total) < 0.5 + 0.35 * moved
    return Prints(times, prices, sizes, taker_buys, makers)


def make_trades(prints: Prints, first_id: int, base_ms: int, rng: np.random.Generator) -> Trades:
    """The trades of ``prints``, numbered from ``first_id``; none is later than the next print or its bar's end."""
    makers, total = prints.makers, int(prints.makers.sum())
    ids = np.arange(first_id, first_id + total)
    if total == len(prints):
        return Trades(ids, prints.times_ms, prints.prices, prints.quantities, prints.taker_buys)
    sizes = 1 + split(prints.quantities - makers, makers, rng.exponential(size=total) + _SOME)
    gaps = np.floor(rng.exponential(_BURST_GAP_MS, total)).astype(np.int64)
    gaps[np.cumsum(makers) - makers] = 0
    since_first = np.cumsum(gaps)
    since_first -= np.repeat(since_first[np.cumsum(makers) - makers], makers)
    bar_end = prints.times_ms // base_ms * base_ms + base_ms - 1
    latest = np.minimum(bar_end, np.append(prints.times_ms[1:], np.iinfo(np.int64).max))
    times = np.minimum(np.repeat(prints.times_ms, makers) + since_first, np.repeat(latest, makers))
    return Trades(ids, times, np.repeat(prints.prices, makers), sizes, np.repeat(prints.taker_buys, makers))


def _times(bars: Bars, base_ms: int, bar: Ints, rank: Ints, rng: np.random.Generator) -> Ints:
    """Random times, with the first prints of each bar spread so that every minute gets one."""
    minutes = max(1, base_ms // MINUTE_MS)
    slot_ms = base_ms // minutes
    spread = (rank < minutes) & (np.repeat(bars.prints, bars.prints) >= minutes)
    slot = np.where(spread, rank, rng.integers(0, minutes, len(rank)))
    offset = np.maximum(1, slot * slot_ms + rng.integers(0, slot_ms, len(rank)))
    order = np.sort(bar * base_ms + offset)
    return np.asarray(order - bar * base_ms + bars.open_ms[bar], np.int64)


def _path(bars: Bars, bar: Ints, rank: Ints, rng: np.random.Generator) -> Ints:
    """Prices from open by high and low (either first) to close, wandering between but never beyond."""
    turns, levels = _anchors(bars, rng)
    leg = (rank[:, None] >= turns[bar][:, 1:3]).sum(axis=1)
    start, end = turns[bar, leg], turns[bar, leg + 1]
    progress = (rank - start) / np.maximum(end - start, 1)
    origin, target = levels[bar, leg], levels[bar, leg + 1]
    wander = (bars.high - bars.low)[bar] * 0.18 * np.sqrt(progress * (1 - progress)) * rng.standard_normal(len(bar))
    prices = np.rint(origin + (target - origin) * progress + wander).astype(np.int64)
    prices = np.clip(prices, bars.low[bar], bars.high[bar])
    first = np.cumsum(bars.prints) - bars.prints
    for anchor in range(4):
        prices[first + turns[:, anchor]] = levels[:, anchor]
    return np.asarray(prices, np.int64)


def _anchors(bars: Bars, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Which prints of each bar stand at open, first extreme, second extreme and close, and their prices."""
    count = len(bars)
    last = bars.prints - 1
    low_first = rng.random(count) < np.where(bars.close > bars.open, 0.7, 0.3)
    one = np.where(low_first, bars.low, bars.high)
    two = np.where(low_first, bars.high, bars.low)
    first = 1 + np.floor(rng.random(count) * np.maximum(last - 2, 1)).astype(np.int64)
    second = first + 1 + np.floor(rng.random(count) * np.maximum(last - 1 - first, 1)).astype(np.int64)
    # With fewer than four prints only an extreme that is neither open nor close has a print of its own.
    high_inside = (bars.high > bars.open) & (bars.high > bars.close)
    extreme = np.where(high_inside, bars.high, bars.low)
    three, few = bars.prints == 3, bars.prints < 3
    one, two = (np.where(three, extreme, level) for level in (one, two))
    first, second = (np.where(three, 1, turn) for turn in (first, second))
    one, two = np.where(few, bars.open, one), np.where(few, bars.close, two)
    first, second = np.where(few, 0, first), np.where(few, last, second)
    turns = np.stack([np.zeros(count, np.int64), first, second, last], axis=1)
    return turns, np.stack([bars.open, one, two, bars.close], axis=1)
