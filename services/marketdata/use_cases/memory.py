"""What is kept in memory."""

from typing import Protocol

from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Interval
from services.marketdata.domain.ticker import TickerBoard
from services.marketdata.ports.candles import CandleStore
from services.marketdata.ports.symbols import SymbolStore
from services.marketdata.ports.trade_history import TradeHistory

_TICKER_MINUTES = 24 * 60


class Stored(Protocol):
    """What is read."""

    @property
    def symbols(self) -> SymbolStore: ...

    @property
    def history(self) -> TradeHistory: ...

    @property
    def candles(self) -> CandleStore: ...


async def load_memory(stored: Stored, catalog: Catalog, board: TickerBoard) -> None:
    """Fill what is kept in memory with what is stored, so that it is there without the source too."""
    symbols = await stored.symbols.symbols()
    for symbol in symbols:
        for candle in await stored.candles.newest_candles(symbol.symbol, Interval.ONE_MINUTE, _TICKER_MINUTES):
            board.add_candle(candle)
        for trade in await stored.history.newest(symbol.symbol, 1):
            board.add_trade(trade)
    catalog.add(symbols)
