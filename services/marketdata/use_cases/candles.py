"""Reading candles."""

from dataclasses import dataclass
from datetime import datetime

from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Candle, Interval
from services.marketdata.ports.store import Store


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
