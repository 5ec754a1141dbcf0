"""Partitions of a table by time."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from operator import attrgetter

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

_ADD = "SELECT marketdata.add_partitions(:parent, :unit, :first, :last)"

# Dropping waits for all who read the table, and new ones wait for it: rather it is tried again later.
_BE_IMPATIENT = "SET LOCAL lock_timeout = '1s'"

_DROP = "SELECT marketdata.drop_partitions(:parent, :unit, :before)"

_KEYS: dict[str, Callable[[datetime], object]] = {"day": datetime.toordinal, "month": attrgetter("year", "month")}
"""What of a time in UTC tells its partition."""


class Partitions:
    """The partitions of one table, each of one ``unit`` of time: "day" or "month". Remembers which there are."""

    def __init__(self, engine: AsyncEngine, parent: str, unit: str) -> None:
        self._engine = engine
        self._parent = parent
        self._unit = unit
        self._key = _KEYS[unit]
        self._known: set[object] = set()

    async def make_for(self, times: Iterable[datetime]) -> None:
        """Make those that rows of these times belong into."""
        wanted = {self._key(time): time for time in (time.astimezone(UTC) for time in times)}
        missing = {key: time for key, time in wanted.items() if key not in self._known}
        if not missing:
            return
        async with self._engine.begin() as connection:
            for time in sorted(missing.values()):
                await connection.execute(
                    text(_ADD), {"parent": self._parent, "unit": self._unit, "first": time, "last": time}
                )
        self._known |= missing.keys()

    async def drop(self, before: datetime) -> None:
        """Drop those that hold nothing as new as ``before``."""
        async with self._engine.begin() as connection:
            await connection.execute(text(_BE_IMPATIENT))
            await connection.execute(text(_DROP), {"parent": self._parent, "unit": self._unit, "before": before})
        self.forget()

    def forget(self) -> None:
        """Another replica may have dropped some."""
        self._known.clear()
