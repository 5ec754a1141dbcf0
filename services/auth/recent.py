"""What was found out a moment ago, for many who ask at once."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

OLDEST = 1.0
_REMEMBERED = 10_000

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True)
class _Reading(Generic[Value]):
    began: float
    answer: "asyncio.Future[Value]"


class Recent(Generic[Key, Value]):
    """Values as they were at most a second ago: of many who ask for one, one in a second finds it out.

    A failure is told to those who wait for it, and not remembered.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._readings: dict[Key, _Reading[Value]] = {}

    async def get(self, key: Key, find: Callable[[], Awaitable[Value]]) -> Value:
        """The value of ``key``, found out by ``find`` where it is not known."""
        now = self._seconds()
        reading = self._readings.get(key)
        if reading is None or not 0 <= now - reading.began < OLDEST:
            reading = self._read(key, find, now)
        # A caller that gives up leaves the reading to the others.
        return await asyncio.shield(reading.answer)

    def _read(self, key: Key, find: Callable[[], Awaitable[Value]], now: float) -> _Reading[Value]:
        if len(self._readings) >= _REMEMBERED:
            self._readings = {each: known for each, known in self._readings.items() if now - known.began < OLDEST}
        if len(self._readings) >= _REMEMBERED:
            self._readings.clear()
        reading = self._readings[key] = _Reading(now, asyncio.ensure_future(find()))

        def done(answer: "asyncio.Future[Value]") -> None:
            if (answer.cancelled() or answer.exception() is not None) and self._readings.get(key) is reading:
                del self._readings[key]

        reading.answer.add_done_callback(done)
        return reading
