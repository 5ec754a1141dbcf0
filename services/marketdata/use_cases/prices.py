"""The newest prices."""

from services.marketdata.catalog import Catalog
from services.marketdata.domain.ticker import Ticker, TickerBoard
from services.marketdata.errors import NoMarketData


class GetTicker:
    """Tell the newest price of a symbol, from memory."""

    def __init__(self, catalog: Catalog, board: TickerBoard) -> None:
        self._catalog = catalog
        self._board = board

    def __call__(self, symbol: str) -> Ticker:
        self._catalog.require(symbol)
        ticker = self._board.ticker(symbol)
        if ticker is None:
            raise NoMarketData(f"{symbol} has not traded yet, so it has no price; try again later", symbol=symbol)
        return ticker
