"""Comparing stored candles with the source's."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Candle, Interval, Symbol
from services.marketdata.domain.series import filled
from services.marketdata.domain.verification import Comparison, compared
from services.marketdata.errors import NoSourceCandles
from services.marketdata.ports.candles import CandleStore
from services.marketdata.ports.sources import Source, SourceUnavailable
from services.runtime.errors import DependencyUnavailable, FieldViolations

_MOST_CANDLES = 10_000


@dataclass(frozen=True)
class VerifyCandles:
    """Ask the source for candles, and compare them with the stored ones; nothing is changed."""

    catalog: Catalog
    sources: Mapping[str, Source]
    """The sources of the settings, by name."""
    store: CandleStore

    async def __call__(self, symbol: str, interval: Interval, start: datetime, end: datetime) -> Comparison:
        market = self.catalog.get(symbol)
        source = self.sources.get(market.source)
        if source is None or interval not in source.intervals:
            raise NoSourceCandles(f"{market.source} has no candles of {interval.value} s of its own", symbol=symbol)
        if (end - start) / interval.length > _MOST_CANDLES:
            raise FieldViolations({"end_time": f"at most {_MOST_CANDLES} candles after start_time"})
        start = interval.floor(start) + (interval.length if start > interval.floor(start) else start - start)
        stored = await self.store.candles(symbol, interval, start, end, _MOST_CANDLES)
        try:
            now = await source.now()
            theirs = await self._theirs(source, market, interval, start, min(end, interval.floor(now)))
        except SourceUnavailable as error:
            raise DependencyUnavailable(str(error), part=market.source) from error
        return compared([candle for candle in stored if candle.close_time <= now], theirs)

    async def _theirs(
        self, source: Source, symbol: Symbol, interval: Interval, start: datetime, end: datetime
    ) -> list[Candle]:
        """The source's candles; where it has none between two others, nothing was traded."""
        candles: list[Candle] = []
        while start < end:
            page = await source.candles(symbol, interval, start)
            wanted = [candle for candle in page if candle.open_time < end]
            candles += wanted
            if not wanted or len(wanted) < len(page):
                break
            start = wanted[-1].close_time
        return filled(None, candles, candles[-1].close_time, candles[-1].origin) if candles else []
