"""Where rows are kept in partitions by time."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol


class Partitioned(Protocol):
    """A store that keeps its rows in partitions by time."""

    async def prepare(self, times: Iterable[datetime]) -> None:
        """Make the partitions that rows of these times belong into, so that none has to be made when they come."""
