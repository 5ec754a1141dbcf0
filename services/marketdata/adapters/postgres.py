"""Symbols and candles on PostgreSQL."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from services.marketdata.adapters.candles import PostgresCandles
from services.marketdata.adapters.symbols import PostgresSymbols
from services.marketdata.domain.market import Symbol


class PostgresStore(PostgresCandles):
    """Implements Store."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self._symbols = PostgresSymbols(engine)

    async def symbols(self) -> list[Symbol]:
        return await self._symbols.symbols()

    async def put_symbols(self, symbols: Sequence[Symbol]) -> None:
        await self._symbols.put_reported(symbols)
