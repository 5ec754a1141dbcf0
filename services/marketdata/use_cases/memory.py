"""What is kept in memory."""

from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Interval
from services.marketdata.domain.ticker import TickerBoard
from services.marketdata.ports.store import Store
from services.marketdata.ports.trade_history import TradeHistory

_TICKER_MINUTES = 24 * 60


async def load_memory(store: Store, trades: TradeHistory, catalog: Catalog, board: TickerBoard) -> None:
    """Fill what is kept in memory with what is stored, so that it is there without the source too."""
    symbols = await store.symbols()
    for symbol in symbols:
        for candle in await store.newest_candles(symbol.symbol, Interval.ONE_MINUTE, _TICKER_MINUTES):
            board.add_candle(candle)
        for trade in await trades.newest(symbol.symbol, 1):
            board.add_trade(trade)
    catalog.add(symbols)
