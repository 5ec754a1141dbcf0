"""Reading trades."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Trade
from services.marketdata.ports.trade_history import TradeHistory


@dataclass(frozen=True)
class TradePage:
    """Some trades, by time, and whether more follow."""

    trades: Sequence[Trade]
    more: bool


class ListTrades:
    """Read stored trades by time, or the newest ones where no span of time is given."""

    def __init__(self, catalog: Catalog, history: TradeHistory) -> None:
        self._catalog = catalog
        self._history = history

    async def __call__(
        self, symbol: str, start: datetime | None, end: datetime | None, after: tuple[datetime, str] | None, size: int
    ) -> TradePage:
        self._catalog.require(symbol)
        if start is None and end is None:
            return TradePage(await self._history.newest(symbol, size), more=False)
        trades = await self._history.between(symbol, start, end, after, size + 1)
        return TradePage(trades[:size], more=len(trades) > size)
