"""Sums and extremes over the newest ``window`` values, in constant time per value.

Sums are of integers: taking out the oldest value leaves exactly the sum of the others, however long it has run, and
``n * sum(x * x) - sum(x) ** 2`` is never negative. Until a window is full, its missing values count as zero.
"""

import math
from collections import deque


class RollingSum:
    """The sum of the newest integers."""

    __slots__ = ("_total", "_values")

    def __init__(self, window: int) -> None:
        self._values = deque([0] * window, maxlen=window)
        self._total = 0

    def push(self, value: int) -> int:
        """Add ``value`` and return the new sum."""
        self._total += value - self._values[0]
        self._values.append(value)
        return self._total


class RollingMoments:
    """Mean and standard deviation (of the population) of the newest integers."""

    __slots__ = ("_squares", "_total", "_values", "_window")

    def __init__(self, window: int) -> None:
        self._window = window
        self._values = deque([0] * window, maxlen=window)
        self._total = 0
        self._squares = 0

    def push(self, value: int) -> None:
        """Add ``value``."""
        oldest = self._values[0]
        self._values.append(value)
        self._total += value - oldest
        self._squares += value * value - oldest * oldest

    @property
    def deviation(self) -> float:
        """The standard deviation; exactly 0 when all values are equal."""
        return math.sqrt(self._window * self._squares - self._total * self._total) / self._window

    @property
    def score(self) -> float:
        """How many standard deviations the newest value lies above the mean, 0 when all are equal.

        Its size is at most ``sqrt(window - 1)`` (Samuelson's inequality).
        """
        spread = self._window * self._squares - self._total * self._total
        if spread == 0:
            return 0.0
        return (self._window * self._values[-1] - self._total) / math.sqrt(spread)


class RollingCorrelation:
    """Pearson's correlation of the newest pairs of integers."""

    __slots__ = ("_pairs", "_window", "_x", "_xx", "_xy", "_y", "_yy")

    def __init__(self, window: int) -> None:
        self._window = window
        self._pairs = deque([(0, 0)] * window, maxlen=window)
        self._x = self._y = self._xx = self._xy = self._yy = 0

    def push(self, x: int, y: int) -> float:
        """Add a pair and return the new correlation, -1 to 1; 0 when either side does not vary."""
        old_x, old_y = self._pairs[0]
        self._pairs.append((x, y))
        self._x += x - old_x
        self._y += y - old_y
        self._xx += x * x - old_x * old_x
        self._xy += x * y - old_x * old_y
        self._yy += y * y - old_y * old_y
        spread_x = self._window * self._xx - self._x * self._x
        spread_y = self._window * self._yy - self._y * self._y
        if spread_x == 0 or spread_y == 0:
            return 0.0
        covariance = self._window * self._xy - self._x * self._y
        return max(-1.0, min(1.0, covariance / (math.sqrt(spread_x) * math.sqrt(spread_y))))


class RollingMaximum:
    """The largest of the newest values: a queue of those that no later value has reached."""

    __slots__ = ("_candidates", "_position", "_window")

    def __init__(self, window: int) -> None:
        self._window = window
        self._candidates: deque[tuple[int, float]] = deque()
        self._position = 0

    def push(self, value: float) -> float:
        """Add ``value`` and return the largest of the window."""
        self._position += 1
        while self._candidates and self._candidates[-1][1] <= value:
            self._candidates.pop()
        self._candidates.append((self._position, value))
        if self._candidates[0][0] <= self._position - self._window:
            self._candidates.popleft()
        return self._candidates[0][1]
