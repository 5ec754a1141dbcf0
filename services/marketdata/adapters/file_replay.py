"""The rows of one file, handed out as a clock reaches them."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Generic, TypeVar

_AT_ONCE = 1_000
_PATIENCE_SECONDS = 10.0

Item = TypeVar("Item")


class FileReplay(Generic[Item]):
    """Hands out items in their order."""

    def __init__(self, items: Iterator[Item], time_of: Callable[[Item], datetime], start: datetime) -> None:
        self._items = items
        self._time_of = time_of
        self._next: Item | None = None
        self._asked_at = asyncio.get_running_loop().time()
        self.position = start
        """The time of the newest item that was handed out."""
        self.ended = False
        self._broken: Exception | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether there is more, and somebody has asked for it lately."""
        return not self.ended and asyncio.get_running_loop().time() - self._asked_at < _PATIENCE_SECONDS

    def take(self, until: datetime | None) -> list[Item]:
        """Some items, none later than ``until`` where that is given; at the end of the file it has ``ended``."""
        self._asked_at = asyncio.get_running_loop().time()
        taken: list[Item] = []
        while len(taken) < _AT_ONCE:
            item = self._next if self._next is not None else self._read()
            if item is None:
                self.ended = True
                break
            time = self._time_of(item)
            if until is not None and time > until:
                self._next = item
                break
            self._next = None
            self.position = max(self.position, time)
            taken.append(item)
        return taken

    def _read(self) -> Item | None:
        """The next item; None at the end. What cannot be read is no end: it is said each time."""
        if self._broken is not None:
            raise self._broken
        try:
            return next(self._items, None)
        except Exception as error:
            self._broken = error
            raise
