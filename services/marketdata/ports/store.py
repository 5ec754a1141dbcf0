"""Where symbols and candles stay."""

from collections.abc import Sequence
from typing import Protocol

from services.marketdata.domain.market import Symbol
from services.marketdata.ports.candles import CandleStore


class Store(CandleStore, Protocol):
    """Where symbols and candles stay. Writing the same again changes nothing."""

    async def symbols(self) -> list[Symbol]:
        """All symbols, by id."""

    async def put_symbols(self, symbols: Sequence[Symbol]) -> None:
        """Add symbols, or bring them up to date."""
