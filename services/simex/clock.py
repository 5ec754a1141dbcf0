"""The exchange's clock: real, or running some times as fast and pausing while simex is down."""

import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """The time of the exchange."""

    speed: float
    """How many of its seconds pass in a real one."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 in UTC; never falls."""


def wall_ms() -> int:
    """The real time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class RealClock:
    """Real UTC time, held still where the machine's clock is set back."""

    speed = 1.0

    def __init__(self, wall: Callable[[], int] = wall_ms) -> None:
        self._wall = wall
        self._latest = wall()

    def now_ms(self) -> int:
        """Milliseconds since 1970 in UTC; never falls."""
        self._latest = max(self._latest, self._wall())
        return self._latest


class FastClock:
    """A clock that starts at ``start_ms`` and runs ``speed`` times as fast as ``seconds``."""

    def __init__(self, start_ms: int, speed: float, seconds: Callable[[], float] = time.monotonic) -> None:
        self.speed = speed
        self._start_ms = start_ms
        self._seconds = seconds
        self._origin = seconds()

    def now_ms(self) -> int:
        """Milliseconds since 1970 in UTC; never falls."""
        return self._start_ms + int((self._seconds() - self._origin) * 1000 * self.speed)
