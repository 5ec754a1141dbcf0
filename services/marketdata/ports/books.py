"""Where order books stay."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from services.marketdata.domain.book import BookChange
from services.marketdata.ports.leases import Lease


class BookStore(Protocol):
    """The events of all order books. Those of a symbol are numbered 1, 2, 3 … in the order in which they are stored."""

    async def add(self, events: Sequence[BookChange], lease: Lease | None) -> list[BookChange]:
        """Store events, all or none, and return them with their sequences.

        Raises LeaseLost, and has stored nothing, when ``lease`` is another's; without one anybody may store.
        """

    async def symbols(self) -> list[str]:
        """The symbols that ever had events."""

    async def newest(self, symbol: str) -> list[BookChange]:
        """The newest snapshot of a symbol's book and the changes after it; empty where there is none."""

    async def after(self, symbol: str, sequence: int, limit: int) -> list[BookChange]:
        """The first ``limit`` events of a symbol behind ``sequence``."""

    async def drop_expired(self, before: datetime) -> None:
        """Drop the partitions that hold nothing newer."""


def books_line(symbol: str) -> str:
    """The line of the events of a symbol's book."""
    return f"books:{symbol}"
