"""What can be asked of marketdata."""

from dataclasses import dataclass
from datetime import datetime

from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Candle, Interval
from services.marketdata.domain.ticker import Ticker, TickerBoard
from services.marketdata.errors import NoMarketData
from services.marketdata.ports import Store

_TICKER_MINUTES = 24 * 60


@dataclass(frozen=True)
class CandlePage:
    """Some candles, by time, and the open time where the next page begins; None after the last."""

    candles: list[Candle]
    next_start: datetime | None


class GetCandles:
    """Read stored candles by time, or the newest ones where no span of time is given."""

    def __init__(self, catalog: Catalog, store: Store) -> None:
        self._catalog = catalog
        self._store = store

    async def __call__(
        self, symbol: str, interval: Interval, start: datetime | None, end: datetime | None, size: int
    ) -> CandlePage:
        self._catalog.require(symbol)
        if start is None and end is None:
            return CandlePage(await self._store.newest_candles(symbol, interval, size), None)
        candles = await self._store.candles(symbol, interval, start, end, size + 1)
        return CandlePage(candles[:size], candles[size].open_time if len(candles) > size else None)


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


async def load_memory(store: Store, catalog: Catalog, board: TickerBoard) -> None:
    """Fill what is kept in memory with what is stored, so that it is there without the source too."""
    symbols = await store.symbols()
    for symbol in symbols:
        for candle in await store.newest_candles(symbol.symbol, Interval.ONE_MINUTE, _TICKER_MINUTES):
            board.add_candle(candle)
        for trade in await store.newest_trades(symbol.symbol):
            board.add_trade(trade)
    catalog.add(symbols)
