"""Where complete candles are read."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from services.marketdata.domain.market import Candle, Interval


class CandleReader(Protocol):
    """The stored candles of all symbols."""

    async def candles(
        self, symbol: str, interval: Interval, start: datetime | None, end: datetime | None, limit: int
    ) -> Sequence[Candle]:
        """The first ``limit`` candles that open in [start, end), by time."""

    async def newest_candles(
        self, symbol: str, interval: Interval, limit: int, end: datetime | None = None
    ) -> Sequence[Candle]:
        """The last ``limit`` candles of those that open before ``end`` (None: of all), by time."""
