"""Trades and candles as columns of integers (ticks, steps, milliseconds)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
BigInts = npt.NDArray[Any]
"""int64, or Python integers where 64 bits are too few."""

_SAFE = 2**62


@dataclass(frozen=True)
class Columns:
    """Equally long arrays, one row per index."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self, rows: slice) -> Self:
        return type(self)(*(getattr(self, column.name)[rows] for column in fields(self)))

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All rows of ``parts``, one after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(cls)))


@dataclass(frozen=True)
class Trades(Columns):
    """Trades of one symbol in the order of their ids."""

    ids: Ints
    times_ms: Ints
    prices: Ints
    quantities: Ints
    taker_buys: Bools

    def rows(self) -> Iterator[tuple[int, int, int, int, bool]]:
        """Id, time, price, quantity and whether the taker bought, of each trade."""
        return zip(
            self.ids.tolist(),
            self.times_ms.tolist(),
            self.prices.tolist(),
            self.quantities.tolist(),
            self.taker_buys.tolist(),
            strict=True,
        )

    @classmethod
    def none(cls) -> "Trades":
        """No trades."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty, empty, np.empty(0, np.bool_))


@dataclass(frozen=True)
class Candles(Columns):
    """Candles of one symbol; rows are ordered by time and each holds at least one trade."""

    open_ms: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    quote_volume: BigInts
    trades: Ints
    taker_volume: Ints
    taker_quote_volume: BigInts
    first_id: Ints
    last_id: Ints

    @classmethod
    def of_trades(cls, trades: Trades) -> "Candles":
        """Each trade as a candle of its own, opened at the trade's time."""
        quote = notional(trades.prices, trades.quantities)
        prices, ids = trades.prices, trades.ids
        return cls(
            trades.times_ms,
            prices,
            prices,
            prices,
            prices,
            trades.quantities,
            quote,
            np.ones(len(trades), np.int64),
            np.where(trades.taker_buys, trades.quantities, 0),
            np.where(trades.taker_buys, quote, 0),
            ids,
            ids,
        )

    def grouped(self, interval_ms: int) -> "Candles":
        """Candles of ``interval_ms`` made of these; an interval without rows gives none."""
        return self.merged(self.open_ms // interval_ms * interval_ms)

    def merged(self, groups: Ints) -> "Candles":
        """One candle for each run of equal ``groups``, which gives it its opening time."""
        if not len(self):
            return self
        starts = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
        ends = np.append(starts[1:], len(groups)) - 1
        return Candles(
            groups[starts],
            self.open[starts],
            np.maximum.reduceat(self.high, starts),
            np.minimum.reduceat(self.low, starts),
            self.close[ends],
            np.add.reduceat(self.volume, starts),
            np.add.reduceat(_widened(self.quote_volume), starts),
            np.add.reduceat(self.trades, starts),
            np.add.reduceat(self.taker_volume, starts),
            np.add.reduceat(_widened(self.taker_quote_volume), starts),
            self.first_id[starts],
            self.last_id[ends],
        )


def notional(prices: Ints, quantities: Ints) -> BigInts:
    """``prices`` x ``quantities``, in Python integers where one could outgrow 64 bits."""
    if len(prices) and int(prices.max()) * int(quantities.max()) >= _SAFE:
        return np.asarray(np.multiply(prices.astype(object), quantities))
    return np.asarray(prices * quantities)


def _widened(amounts: BigInts) -> BigInts:
    if amounts.dtype != object and float(amounts.sum(dtype=np.float64)) >= _SAFE:
        return amounts.astype(object)
    return amounts
