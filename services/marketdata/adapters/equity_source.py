"""Shares and funds as a source: candles that are polled, and no trades, because none are told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from services.marketdata.adapters.inspection import Inspection
from services.marketdata.adapters.yahoo import Bar, Yahoo
from services.marketdata.domain.book import BookChange
from services.marketdata.domain.market import (
    AssetType,
    Candle,
    Channel,
    Interval,
    Origin,
    SourceKind,
    Symbol,
    Trade,
)
from services.marketdata.domain.rules import Retention
from services.marketdata.domain.sequence import Step
from services.marketdata.ports.quarantine import Quarantine
from services.marketdata.ports.sources import SourceUnavailable
from services.marketdata.source_settings import INTERVALS, EquitySettings
from services.runtime.clock import Clock, utc_now

_DAY = timedelta(days=1)
_NAMES = {interval: name for name, interval in INTERVALS.items()}
_REACH = {
    Interval.ONE_MINUTE: timedelta(days=29),
    Interval.FIVE_MINUTES: timedelta(days=59),
    Interval.FIFTEEN_MINUTES: timedelta(days=59),
    Interval.ONE_DAY: timedelta(days=40_000),
}
"""How far back the service has bars."""
_PAGE = {Interval.ONE_MINUTE: timedelta(days=7), Interval.ONE_DAY: timedelta(days=3_650)}
"""How long a span may be asked for at once; where it does not say, as far as it reaches."""


class EquitySource:
    """Implements Source."""

    kind = SourceKind.EQUITY
    asset_type = AssetType.EQUITY
    channels = frozenset({Channel.CANDLES})

    def __init__(self, settings: EquitySettings, yahoo: Yahoo, inspection: Inspection) -> None:
        self._settings = settings
        self._yahoo = yahoo
        self._inspection = inspection
        self._step = Decimal(1).scaleb(-settings.price_digits)
        self._told: tuple[float, datetime] | None = None

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def intervals(self) -> frozenset[Interval]:
        return frozenset(INTERVALS[name] for name in self._settings.intervals)

    async def reconnect(self) -> None:
        """Ask for the time at the next call."""
        self._told = None

    async def symbols(self) -> list[Symbol]:
        found = [(ticker, await self._symbol(ticker, "")) for ticker in self._settings.symbols]
        if unknown := [ticker for ticker, symbol in found if symbol is None]:
            raise SourceUnavailable(f"{self.name} has no share {', '.join(unknown)}; correct its symbols")
        return [symbol for _, symbol in found if symbol is not None]

    async def market(self, symbol: str, source_symbol: str) -> Symbol | None:
        return await self._symbol(source_symbol or symbol.partition("-")[0], symbol)

    async def now(self) -> datetime:
        """When the share traded last that traded last; asked for again only after a while."""
        clock = asyncio.get_running_loop().time()
        if self._told is None or clock - self._told[0] >= self._settings.poll_seconds:
            listings = [await self._yahoo.listing(ticker) for ticker in self._settings.symbols]
            times = [listing.time for listing in listings if listing is not None]
            if not times:
                raise SourceUnavailable(f"{self.name} tells no time: it knows none of its symbols")
            self._told = clock, max(times)
            self._inspection.tell_time(self._told[1])
        return self._told[1]

    async def candles(self, symbol: Symbol, interval: Interval, start: datetime) -> list[Candle]:
        until = await self.now()
        reach = _REACH.get(interval)
        if reach is None:
            return []
        start, page = max(start, interval.floor(until - reach)), _PAGE.get(interval, reach)
        while start <= until:
            end = min(start + page, until + _DAY)
            bars = await self._yahoo.bars(symbol.source_symbol, _NAMES[interval], start, end)
            read = (
                self._inspection.candle(symbol.symbol, bar, partial(self._candle, symbol.symbol, interval, bar))
                for bar in bars
            )
            if candles := [candle for candle in read if candle is not None and candle.open_time >= start]:
                return candles
            start = end
        return []

    async def trades(self, symbol: Symbol) -> list[Step]:
        raise SourceUnavailable(f"{self.name} tells no trades")

    async def past_trades(self, symbol: Symbol, after: Trade | None, start: datetime) -> Sequence[Trade]:
        return []

    async def book(self, symbol: Symbol) -> list[BookChange]:
        raise SourceUnavailable(f"{self.name} has no order books")

    async def resync_book(self, symbol: Symbol) -> None:
        """Nothing: it has no order books."""

    async def _symbol(self, ticker: str, name: str) -> Symbol | None:
        listing = await self._yahoo.listing(ticker)
        if listing is None:
            return None
        # A dash separates base and quote.
        base, quote = ticker.replace("-", "."), listing.currency.upper()
        name = name or f"{base}-{quote}@{self.name}"
        return Symbol(name, base, quote, self.name, ticker, self._step, Decimal(1), Decimal(0), self.asset_type)

    def _candle(self, symbol: str, interval: Interval, bar: Bar) -> Candle:
        time, *prices, volume = bar
        first, high, low, close = (Decimal(str(price)).quantize(self._step).normalize() for price in prices)
        return Candle(symbol, interval, time, first, high, low, close, Decimal(str(volume)).normalize(), Origin.SOURCE)


@asynccontextmanager
async def open_equity_source(
    settings: EquitySettings, quarantine: Quarantine, kept: Retention, now: Clock = utc_now
) -> AsyncIterator[EquitySource]:
    """The shares of ``settings``. Nothing is connected before the first use."""
    inspection = Inspection(
        settings.name, EquitySource.asset_type, quarantine, kept, _DAY + settings.future_tolerance, now
    )
    yield EquitySource(settings, Yahoo(settings.name, settings.base_url), inspection)
