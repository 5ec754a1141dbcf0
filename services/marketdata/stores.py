"""Where everything stays that is stored in PostgreSQL."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from services.marketdata.adapters.candles import PostgresCandles
from services.marketdata.adapters.gaps import PostgresGaps
from services.marketdata.adapters.lines import PostgresLines
from services.marketdata.adapters.source_states import PostgresSourceStates
from services.marketdata.adapters.symbols import PostgresSymbols
from services.marketdata.adapters.trade_history import PostgresTradeHistory
from services.marketdata.adapters.trades import PostgresTrades


@dataclass(frozen=True)
class Stores:
    """The stores of a replica."""

    symbols: PostgresSymbols
    trades: PostgresTrades
    history: PostgresTradeHistory
    candles: PostgresCandles
    gaps: PostgresGaps
    lines: PostgresLines
    states: PostgresSourceStates

    @classmethod
    def on(cls, engine: AsyncEngine) -> "Stores":
        """The stores in the database of ``engine``."""
        return cls(
            PostgresSymbols(engine),
            PostgresTrades(engine),
            PostgresTradeHistory(engine),
            PostgresCandles(engine),
            PostgresGaps(engine),
            PostgresLines(engine),
            PostgresSourceStates(engine),
        )
