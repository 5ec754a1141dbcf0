"""Any exchange of ccxt.pro as a source.

Numbers stay exact: ccxt is told to make Decimals of the text that exchanges send.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import ccxt.pro

from services.marketdata.adapters.ccxt_book import BookDifferences
from services.marketdata.adapters.ccxt_exchanges import PRESETS, Preset, new_exchange
from services.marketdata.adapters.ccxt_pages import following, with_ids
from services.marketdata.adapters.inspection import Inspection
from services.marketdata.adapters.milliseconds import EPOCH, from_milliseconds, to_milliseconds
from services.marketdata.domain.book import BookChange
from services.marketdata.domain.market import (
    AssetType,
    Candle,
    Channel,
    Interval,
    Origin,
    SourceKind,
    Symbol,
    TakerSide,
    Trade,
    exact,
)
from services.marketdata.domain.rules import Retention
from services.marketdata.domain.sequence import Break, Step
from services.marketdata.ports.quarantine import Quarantine
from services.marketdata.ports.sources import SourceUnavailable
from services.marketdata.source_settings import INTERVALS, ExchangeSettings
from services.runtime.clock import Clock, utc_now

_SIDES = {"buy": TakerSide.BUY, "sell": TakerSide.SELL}
_MOST_SYMBOLS = 50
"""How many markets a source may have so that all are followed when none are named."""
_MOST_EMPTY_PAGES = 200
"""So many spans without candles are passed over at once."""
_UNWATCH_SECONDS = 5.0
"""How long an exchange may take to end a subscription."""
_CLOSE_SECONDS = 2.0
"""How long an exchange may take to say goodbye."""
_FINEST_STEP = Decimal("1E-8")
"""Stands in where the exchange has no fixed step."""

T = TypeVar("T")


class CcxtSource:
    """Implements Source."""

    kind = SourceKind.EXCHANGE
    asset_type = AssetType.CRYPTO

    def __init__(
        self, exchange: Any, settings: ExchangeSettings, preset: Preset, inspection: Inspection, now: Clock
    ) -> None:
        self._exchange = exchange
        self._settings = settings
        self._preset = preset
        self._inspection = inspection
        self._now = now
        self._books: dict[str, BookDifferences] = {}
        self._newest: dict[str, Any] = {}
        """The newest trade of each market that was taken from ccxt."""
        self._ahead: timedelta | None = None
        """How far the exchange's clock was ahead of ours when it told the time last."""
        timeframes = exchange.timeframes or {}
        self._timeframes = {interval: name for name, interval in INTERVALS.items() if name in timeframes}

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def channels(self) -> frozenset[Channel]:
        books = {Channel.BOOKS} if self._exchange.has.get("watchOrderBook") else set()
        return frozenset({Channel.TRADES} | books)

    @property
    def intervals(self) -> frozenset[Interval]:
        return frozenset(self._timeframes)

    async def reconnect(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._exchange.close_ws_clients()
        # Also one that does not close in time is used no more.
        self._exchange.clients = {}

    async def symbols(self) -> list[Symbol]:
        spot, wanted = await self._spot_markets(), self._settings.symbols
        if not wanted and len(spot) > _MOST_SYMBOLS:
            raise SourceUnavailable(
                f"{self.name} has {len(spot)} spot markets, too many to follow all; name some in MARKETDATA_SYMBOLS,"
                " or in the source's symbols"
            )
        if unknown := [name for name in wanted if name not in spot]:
            some = ", ".join(sorted(spot)[:10])
            raise SourceUnavailable(
                f"{self.name} has no spot market {', '.join(unknown)}; correct MARKETDATA_SYMBOLS, or the source's"
                f" symbols (it has {some}, …)"
            )
        return [self._symbol(name, spot[name]) for name in wanted or sorted(spot)]

    async def market(self, symbol: str, source_symbol: str) -> Symbol | None:
        """The spot market that is called like the symbol, or ``source_symbol`` as ccxt or the exchange writes it."""
        name = symbol.partition("@")[0]
        spot = await self._spot_markets()
        if not source_symbol:
            return self._symbol(name, spot[name]) if name in spot else None
        called = [market for market in spot.values() if source_symbol in (market["symbol"], market.get("id"))]
        return self._symbol(name, called[0]) if called else None

    async def now(self) -> datetime:
        """The time of the exchange; of its newest trade in the first market where it does not tell the time."""
        if self._exchange.has["fetchTime"]:
            told = from_milliseconds(await self._asked(self._exchange.fetch_time()))
        else:
            first = next(iter(self._exchange.markets))
            trades = await self._asked(self._exchange.fetch_trades(first))
            times = [trade["timestamp"] for trade in trades if trade["timestamp"] is not None]
            if not times:
                raise SourceUnavailable(f"{self.name} neither tells its time nor has trades in {first}")
            told = from_milliseconds(max(times))
        self._inspection.tell_time(told)
        self._ahead = told - self._now()
        return told

    async def candles(self, symbol: Symbol, interval: Interval, start: datetime) -> list[Candle]:
        page, until, start = self._preset.candles_a_page, None, max(start, EPOCH)
        for _ in range(_MOST_EMPTY_PAGES):
            rows = await self._asked(
                self._exchange.fetch_ohlcv(
                    symbol.source_symbol, self._timeframes[interval], since=to_milliseconds(start), limit=page
                )
            )
            if rows:
                await self._hear_time([row[0] for row in rows])
                read = (self._inspected_candle(symbol, interval, row) for row in rows)
                return [candle for candle in read if candle is not None and candle.open_time >= start]
            until = until or await self.now()
            start += page * interval.length
            if start > until:
                return []
        return []

    async def trades(self, symbol: Symbol) -> list[Step]:
        rows = self._unread(symbol.source_symbol)
        if not rows:
            rows = await self._asked(self._exchange.watch_trades(symbol.source_symbol))
        if kept := self._exchange.trades.get(symbol.source_symbol):
            self._newest[symbol.source_symbol] = kept[-1]
        received = self._now()
        await self._hear_time([row["timestamp"] for row in rows])
        named = rows if self._preset.has_ids else with_ids(rows)
        read = (self._inspected_trade(symbol, row, received, live=True) for row in named)
        return [Break() if trade is None else trade for trade in read]

    async def past_trades(self, symbol: Symbol, after: Trade | None, start: datetime) -> Sequence[Trade]:
        numbered, start = self._preset.numbered, max(start, EPOCH)
        while True:
            now = await self.now()
            page = self._preset.page(self._exchange, symbol.source_symbol, after, start, now)
            rows = following(await self._asked(page), after, start, numbered=numbered)
            received = self._now()
            read = [self._inspected_trade(symbol, row, received, live=False) for row in rows]
            trades = [trade for trade in read if trade is not None]
            if trades or not rows:
                return trades
            # The whole page was refused: what follows it is looked for by time.
            after, start = None, _behind(rows, start)
            if start > now:
                return []

    async def book(self, symbol: Symbol) -> list[BookChange]:
        differences = self._books.setdefault(symbol.symbol, BookDifferences(symbol.symbol))
        try:
            book = await self._asked(
                self._exchange.watch_order_book(symbol.source_symbol, self._book_depth(symbol.book_depth))
            )
            if self._ahead is None:
                await self.now()
        except SourceUnavailable:
            differences.begin_again()
            raise
        received = self._now()
        return differences.changes(book, received, received + (self._ahead or timedelta()))

    async def resync_book(self, symbol: Symbol) -> None:
        differences = self._books.get(symbol.symbol)
        if differences is None:
            return
        differences.begin_again()
        if self._exchange.has.get("unWatchOrderBook"):
            # Some exchanges do not answer who is not subscribed; then the book that ccxt has is told anew.
            with suppress(TimeoutError):
                async with asyncio.timeout(_UNWATCH_SECONDS):
                    await self._asked(self._exchange.un_watch_order_book(symbol.source_symbol))

    def _unread(self, market: str) -> list[dict[str, Any]]:
        """The trades that came while nobody waited for them; ccxt itself keeps them until another one comes."""
        kept = self._exchange.trades.get(market)
        if not kept or market not in self._newest or kept[-1] == self._newest[market]:
            return []
        return list(kept)[-kept.getLimit(market, None) :]

    async def _spot_markets(self) -> dict[str, Mapping[str, Any]]:
        markets = await self._asked(self._exchange.load_markets(reload=True))
        return {
            f"{market['base']}-{market['quote']}": market
            for market in markets.values()
            if market["spot"] and market["active"] is not False
        }

    async def _hear_time(self, told: Sequence[int | None]) -> None:
        """Ask for the time if a row is later than what was told; where nobody answers, what was told last holds."""
        newest = max((moment for moment in told if moment is not None), default=None)
        if newest is not None and self._inspection.doubts(from_milliseconds(newest)):
            with suppress(SourceUnavailable):
                await self.now()

    def _inspected_trade(
        self, symbol: Symbol, row: Mapping[str, Any], received: datetime, *, live: bool
    ) -> Trade | None:
        raw = row.get("info") or row
        return self._inspection.trade(symbol.symbol, raw, lambda: _trade(symbol.symbol, row, received), live=live)

    def _inspected_candle(self, symbol: Symbol, interval: Interval, row: Sequence[Any]) -> Candle | None:
        return self._inspection.candle(symbol.symbol, row, lambda: _candle(symbol.symbol, interval, row))

    def _book_depth(self, wanted: int) -> int | None:
        """The smallest depth that the exchange offers and that is not less than what is wanted.

        Where it offers none, its whole book: one that was cut here would miss what comes up from below.
        """
        depths = self._preset.book_depths
        return min((depth for depth in depths if depth >= wanted), default=depths[-1]) if depths else None

    def _symbol(self, name: str, market: Mapping[str, Any]) -> Symbol:
        base, quote = name.split("-")
        precision, limits = market["precision"], market["limits"]
        amounts = limits.get("amount") or {}
        return Symbol(
            f"{name}@{self.name}",
            base,
            quote,
            self.name,
            market["symbol"],
            self._step(precision["price"]),
            self._step(precision["amount"]),
            _exact(limits["cost"]["min"] or 0),
            min_quantity=_limit(amounts.get("min")),
            max_quantity=_limit(amounts.get("max")),
            book_depth=self._settings.book_depth,
        )

    def _step(self, precision: Any) -> Decimal:
        if precision is None or self._exchange.precisionMode == ccxt.SIGNIFICANT_DIGITS:
            return _FINEST_STEP
        if self._exchange.precisionMode == ccxt.DECIMAL_PLACES:
            return Decimal(1).scaleb(-int(precision))
        return _exact(precision)

    async def _asked(self, answer: Awaitable[T]) -> T:
        """``answer``, with everything that can go wrong as SourceUnavailable."""
        try:
            return await answer
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # ccxt cancels what waits for a websocket that it closes.
            raise SourceUnavailable(f"{self.name} closed the connection; it is opened again") from error
        except (ccxt.BaseError, OSError, ArithmeticError, ValueError, KeyError) as error:
            what = f"{type(error).__name__}: {error}"[:300]
            raise SourceUnavailable(
                f"{self.name} ({self._exchange.id}) did not answer as expected: {what}; check that it runs, that this"
                " machine reaches it, and MARKETDATA_EXCHANGE and MARKETDATA_BASE_URL, or its exchange and base_url"
            ) from error


@asynccontextmanager
async def open_ccxt_source(
    settings: ExchangeSettings, quarantine: Quarantine, kept: Retention, now: Clock = utc_now
) -> AsyncIterator[CcxtSource]:
    """The exchange of ``settings``. Nothing is connected before the first use.

    Raises ValueError when ccxt.pro has no such exchange, or one without live trades.
    """
    preset = PRESETS.get(settings.exchange, Preset())
    exchange = new_exchange(settings.exchange, settings.base_url, preset)
    inspection = Inspection(settings.name, CcxtSource.asset_type, quarantine, kept, settings.future_tolerance, now)
    try:
        yield CcxtSource(exchange, settings, preset, inspection, now)
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await exchange.close()


def _candle(symbol: str, interval: Interval, row: Sequence[Any]) -> Candle:
    time, first, high, low, close, volume = row
    prices = (_exact(first), _exact(high), _exact(low), _exact(close))
    return Candle(symbol, interval, from_milliseconds(time), *prices, _exact(volume), Origin.SOURCE)


def _trade(symbol: str, row: Mapping[str, Any], received: datetime) -> Trade:
    if not row["id"]:
        raise ValueError("it has no id")
    return Trade(
        symbol,
        row["id"],
        _exact(row["price"]),
        _exact(row["amount"]),
        _SIDES.get(row["side"], TakerSide.UNKNOWN),
        from_milliseconds(row["timestamp"]),
        received,
    )


def _behind(rows: Sequence[Mapping[str, Any]], start: datetime) -> datetime:
    """Just after the newest of ``rows``."""
    times = [from_milliseconds(row["timestamp"] + 1) for row in rows if row["timestamp"] is not None]
    return max([start, *times])


def _limit(quantity: Any) -> Decimal | None:
    """``quantity`` as a limit; exchanges write 0 where there is none."""
    return _exact(quantity) if quantity else None


def _exact(number: Any) -> Decimal:
    """The number without trailing zeros."""
    return exact(number if isinstance(number, Decimal) else Decimal(number))
