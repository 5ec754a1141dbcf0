"""What is kept in memory."""

import asyncio
import logging
from typing import Protocol

from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Interval
from services.marketdata.domain.ticker import TickerBoard
from services.marketdata.ports.candles import CandleStore
from services.marketdata.ports.source_states import SourceStates
from services.marketdata.ports.symbols import SymbolStore
from services.marketdata.ports.trade_history import TradeHistory

_log = logging.getLogger(__name__)

_TICKER_MINUTES = 24 * 60
_LOOK_SECONDS = 2.0


class Stored(Protocol):
    """What is read."""

    @property
    def symbols(self) -> SymbolStore: ...

    @property
    def history(self) -> TradeHistory: ...

    @property
    def candles(self) -> CandleStore: ...

    @property
    def states(self) -> SourceStates: ...


class Memory:
    """Fills the memory of a replica with what is stored, so that it is there without the source and on every replica.

    What comes later is published and heard by everybody; the history of a symbol is only stored, so it is read once all
    of it has been fetched.
    """

    def __init__(self, stored: Stored, catalog: Catalog, board: TickerBoard) -> None:
        self._stored = stored
        self._catalog = catalog
        self._board = board
        self._filled: set[str] = set()

    async def load(self) -> None:
        """Take in all that is stored."""
        self._catalog.add(await self._stored.symbols.symbols())
        for symbol in self._catalog.all():
            await self._fill(symbol.symbol)

    async def run(self) -> None:
        """Take in, for ever, the history of the symbols whose history has been fetched since."""
        while True:
            try:
                led = await self._stored.states.all()
                complete = {name for name, each in led.items() if each.status is not None and each.status.has_history}
                symbols = self._catalog.all()
                self._filled &= {symbol.symbol for symbol in symbols if symbol.source in complete}
                for symbol in symbols:
                    if symbol.source in complete and symbol.symbol not in self._filled:
                        await self._fill(symbol.symbol)
                        self._filled.add(symbol.symbol)
            except Exception as error:  # noqa: BLE001 - whatever fails is told, and tried again
                _log.warning("memory not filled", extra={"problem": repr(error)})
            await asyncio.sleep(_LOOK_SECONDS)

    async def _fill(self, symbol: str) -> None:
        for candle in await self._stored.candles.newest_candles(symbol, Interval.ONE_MINUTE, _TICKER_MINUTES):
            self._board.add_candle(candle)
        for trade in await self._stored.history.newest(symbol, 1):
            self._board.add_trade(trade)
