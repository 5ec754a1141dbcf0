"""Rows to learn from: the features of a candle, and what became of the price after it."""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.prediction.domain.market import INTERVAL_MS, Bar, from_ms
from services.prediction.domain.models import DataSpan, Window
from services.prediction.features.engine import FEATURE_NAMES, over_history

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_BAR = struct.Struct("<q5d")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows by close time (those of several symbols mixed), one for each candle with features and a known outcome.

    ``features`` has a row per candle and a column per feature. ``up`` tells whether the close ``horizon`` candles later
    was higher, ``was_up`` whether the candle's own close was higher than that ``horizon`` candles before it.
    """

    close_time_ms: NDArray[np.int64]
    features: Floats
    up: Flags
    was_up: Flags

    def __len__(self) -> int:
        return len(self.up)

    def between(self, start_ms: int, end_ms: int) -> "Dataset":
        """The rows that close at ``start_ms`` or later and before ``end_ms``."""
        first, last = np.searchsorted(self.close_time_ms, (start_ms, end_ms))
        rows = slice(int(first), int(last))
        return Dataset(self.close_time_ms[rows], self.features[rows], self.up[rows], self.was_up[rows])

    def window(self) -> Window:
        """The time that the rows span. There must be one at least."""
        return Window(from_ms(int(self.close_time_ms[0])), from_ms(int(self.close_time_ms[-1])), len(self))


@dataclass(frozen=True, slots=True)
class Split:
    """Three windows, each later than the one before. No outcome in one is known later than the next begins."""

    train: Dataset
    validation: Dataset
    test: Dataset


def outcomes(bars: Sequence[Bar], horizon: int) -> dict[int, bool]:
    """Whether the close was higher ``horizon`` candles later, by the open time of the candle.

    An equal close counts as not higher. A candle has no outcome when the candle that many intervals later is missing.
    """
    closes = {bar.open_time_ms: bar.close for bar in bars}
    return {
        bar.open_time_ms: later > bar.close
        for bar in bars
        if (later := closes.get(bar.open_time_ms + horizon * INTERVAL_MS)) is not None
    }


def rows_of(bars: Sequence[Bar], horizon: int) -> Dataset:
    """The rows of one symbol, whose candles are in order of time. ``horizon`` is in candles."""
    after = outcomes(bars, horizon)
    before = {open_ms + horizon * INTERVAL_MS: up for open_ms, up in after.items()}
    rows = [
        (bar.close_time_ms, features, after[bar.open_time_ms], before[bar.open_time_ms])
        for bar, features in over_history(bars)
        if features is not None and bar.open_time_ms in after
    ]
    return Dataset(
        close_time_ms=np.array([row[0] for row in rows], dtype=np.int64),
        features=np.array([row[1] for row in rows], dtype=np.float64).reshape(len(rows), len(FEATURE_NAMES)),
        up=np.array([row[2] for row in rows], dtype=np.bool_),
        was_up=np.array([row[3] for row in rows], dtype=np.bool_),
    )


def merge(parts: Iterable[Dataset]) -> Dataset:
    """The rows of several symbols, by close time; those of one time keep the order of the parts."""
    several = tuple(parts)
    times = np.concatenate([part.close_time_ms for part in several])
    order = np.argsort(times, kind="stable")
    return Dataset(
        close_time_ms=times[order],
        features=np.concatenate([part.features for part in several])[order],
        up=np.concatenate([part.up for part in several])[order],
        was_up=np.concatenate([part.was_up for part in several])[order],
    )


def split(rows: Dataset, horizon: int, validation_share: float, test_share: float) -> Split:
    """Cut ``rows`` by time: the last ``test_share`` of the time is test, ``validation_share`` before it validation.

    Between two windows ``horizon`` candles are left out, as their outcomes lie in the window after them.
    """
    begin, end = int(rows.close_time_ms[0]), int(rows.close_time_ms[-1]) + 1
    test_ms = end - int((end - begin) * test_share)
    validation_ms = test_ms - int((end - begin) * validation_share)
    purge_ms = horizon * INTERVAL_MS
    return Split(
        train=rows.between(begin, validation_ms - purge_ms),
        validation=rows.between(validation_ms, test_ms - purge_ms),
        test=rows.between(test_ms, end),
    )


def describe(symbol: str, bars: Sequence[Bar]) -> DataSpan:
    """What went into a training, with a hash of every number of it (little-endian int64 and doubles)."""
    content = hashlib.sha256()
    for bar in bars:
        content.update(_BAR.pack(*bar))
    return DataSpan(
        symbol=symbol,
        start_time=from_ms(bars[0].open_time_ms),
        end_time=from_ms(bars[-1].open_time_ms),
        candles=len(bars),
        content_sha256=content.hexdigest(),
    )
