"""Waiting longer after each failure."""

import asyncio


class Patience:
    """How long to wait before trying again: 0.2 s, and twice as long each time up to 5 s, until it goes well."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it is time to try again."""
        return asyncio.get_running_loop().time() >= self._until

    def lost(self) -> float:
        """It failed once more; returns the seconds to wait."""
        seconds = min(5.0, 0.2 * 2.0**self._failures)
        self._failures += 1
        self._until = asyncio.get_running_loop().time() + seconds
        return seconds

    def reset(self) -> None:
        """It went well."""
        self._failures = 0
        self._until = 0.0
