"""Reading stored trades."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from services.marketdata.domain.market import Trade


class TradeHistory(Protocol):
    """The stored trades of a symbol in the order of their time, then of their id."""

    async def between(
        self, symbol: str, start: datetime | None, end: datetime | None, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Trade]:
        """The first ``limit`` trades that happened in [start, end) and follow ``after``, a time and a trade id."""

    async def newest(self, symbol: str, limit: int) -> Sequence[Trade]:
        """The last ``limit`` trades, the oldest of them first."""
