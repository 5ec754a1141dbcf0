"""Where what has been stored is told."""

from collections.abc import Sequence
from typing import Protocol

from services.marketdata.domain.market import Candle, Trade


class Publisher(Protocol):
    """Tells everybody what has been stored."""

    async def trades(self, trades: Sequence[Trade]) -> None:
        """Publish stored trades, those of a symbol together."""

    async def candles(self, candles: Sequence[Candle]) -> None:
        """Publish stored candles of one interval, in this order."""
