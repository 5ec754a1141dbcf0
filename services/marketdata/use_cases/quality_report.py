"""Telling how good stored data is."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import SymbolState
from services.marketdata.domain.quality import Quality, Span
from services.marketdata.ports.quality import QualityReader
from services.runtime.clock import Clock
from services.runtime.errors import FieldViolations

_DAY = timedelta(days=1)
_LONGEST = timedelta(days=31)
"""What a report looks at costs the database as much as its trades."""


class MeasureQuality:
    """Sum up the quality of the data of a symbol over a span of time."""

    def __init__(self, catalog: Catalog, reader: QualityReader, now: Clock) -> None:
        self._catalog = catalog
        self._reader = reader
        self._now = now

    async def __call__(self, symbol: str, start: datetime | None, end: datetime | None) -> Quality:
        self._catalog.require(symbol)
        read = self._reader
        end = end or await read.newest(symbol) or self._now()
        start = start or end - _DAY
        if start >= end:
            raise FieldViolations({"start_time": f"has to be before the newest data, which ends at {end.isoformat()}"})
        if end - start > _LONGEST:
            raise FieldViolations({"start_time": f"a report is about {_LONGEST.days} days at most; begin later"})
        span = Span(start, end)
        trades, latency = await read.latency(symbol, span)
        return Quality(
            symbol=symbol,
            span=span,
            candles=await read.candles(symbol, span),
            trades=trades,
            latency=latency,
            slices=await read.slices(symbol, span),
            gaps=await read.gaps(symbol, span),
            quarantine=await read.quarantine(symbol, span),
        )

    async def of_all(self, symbol: str, start: datetime | None, end: datetime | None) -> Sequence[Quality]:
        """That of one symbol or, where none is named, of all active ones."""
        active = [each.symbol for each in self._catalog.all() if each.state is SymbolState.ACTIVE]
        # One after the other: a report must not take all connections to the database.
        return [await self(each, start, end) for each in ([symbol] if symbol else active)]
