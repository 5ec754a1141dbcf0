"""Where what has been stored is told."""

from collections.abc import Sequence
from typing import Protocol

from services.marketdata.domain.market import Candle


class Publisher(Protocol):
    """Tells everybody what has been stored."""

    async def candles(self, candles: Sequence[Candle]) -> None:
        """Publish stored candles of one interval, in this order."""
