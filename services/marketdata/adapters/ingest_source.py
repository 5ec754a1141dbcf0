"""What producers send, as a source: its trades are those that IngestTrades has stored."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from services.marketdata.domain.book import BookChange
from services.marketdata.domain.market import AssetType, Candle, Channel, Interval, SourceKind, Symbol, Trade
from services.marketdata.domain.sequence import Break, Step
from services.marketdata.ports.sources import SourceUnavailable
from services.marketdata.ports.trade_history import TradeHistory
from services.marketdata.source_settings import IngestSettings, IngestSymbol
from services.runtime.clock import Clock, utc_now

_MOST_WAITING = 100_000
_PAGE = 5_000


class IngestSource:
    """Implements Source: what was stored is heard of by ``hear``, and followed like the trades of an exchange."""

    kind = SourceKind.INGEST
    channels = frozenset({Channel.TRADES})
    intervals: frozenset[Interval] = frozenset()

    def __init__(self, settings: IngestSettings, history: TradeHistory, now: Clock) -> None:
        self._settings = settings
        self._history = history
        self._now = now
        self._waiting: dict[str, deque[Step]] = {}
        self._news: dict[str, asyncio.Event] = {}

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def asset_type(self) -> AssetType:
        return self._settings.asset_type

    def hear(self, trade: Trade) -> None:
        """A trade was stored; of symbols that nobody follows it is not kept."""
        waiting = self._waiting.get(trade.symbol)
        if waiting is None:
            return
        waiting.append(trade)
        if len(waiting) > _MOST_WAITING:
            waiting.clear()
            waiting.append(Break())
        self._news[trade.symbol].set()

    async def reconnect(self) -> None:
        """Nothing: producers may be silent for as long as they like."""

    async def symbols(self) -> list[Symbol]:
        return [self._symbol(each, f"{each.symbol}@{self.name}") for each in self._settings.symbols]

    async def market(self, symbol: str, source_symbol: str) -> Symbol | None:
        """Any market: producers decide what they send."""
        name = source_symbol or symbol.partition("@")[0]
        return self._symbol(IngestSymbol.model_construct(symbol=name), symbol)

    async def now(self) -> datetime:
        return self._now()

    async def candles(self, symbol: Symbol, interval: Interval, start: datetime) -> list[Candle]:
        return []

    async def trades(self, symbol: Symbol) -> list[Step]:
        name = symbol.symbol
        waiting, news = self._waiting.setdefault(name, deque()), self._news.setdefault(name, asyncio.Event())
        await news.wait()
        news.clear()
        steps = [*waiting]
        waiting.clear()
        return steps

    async def past_trades(self, symbol: Symbol, after: Trade | None, start: datetime) -> Sequence[Trade]:
        if after is None:
            return await self._history.between(symbol.symbol, start, None, None, _PAGE)
        behind = after.trade_time, after.trade_id
        return await self._history.between(symbol.symbol, after.trade_time, None, behind, _PAGE)

    async def book(self, symbol: Symbol) -> list[BookChange]:
        raise SourceUnavailable(f"{self.name} has no order books")

    async def resync_book(self, symbol: Symbol) -> None:
        """Nothing: it has no order books."""

    def _symbol(self, described: IngestSymbol, name: str) -> Symbol:
        base, quote = name.partition("@")[0].split("-")
        symbol = Symbol(
            name,
            base,
            quote,
            self.name,
            described.symbol,
            described.price_step,
            described.quantity_step,
            described.min_notional,
        )
        return replace(symbol, asset_type=self.asset_type)


@asynccontextmanager
async def open_ingest_source(
    settings: IngestSettings, history: TradeHistory, now: Clock = utc_now
) -> AsyncIterator[IngestSource]:
    """The markets of ``settings``."""
    yield IngestSource(settings, history, now)
