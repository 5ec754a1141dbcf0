"""Any exchange of ccxt.pro as a source.

Numbers stay exact: ccxt is told to hand them out as text, and they become Decimal here.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import urlsplit

import ccxt.pro

from services.marketdata.domain.market import Candle, Interval, Origin, Symbol, TakerSide, Trade
from services.marketdata.domain.sequence import Break, Step
from services.marketdata.ports.sources import SourceUnavailable
from services.runtime.clock import Clock, utc_now

_log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMEFRAMES = {Interval.ONE_MINUTE: "1m", Interval.FIVE_MINUTES: "5m"}
_SIDES = {"buy": TakerSide.BUY, "sell": TakerSide.SELL}
_CANDLES_A_PAGE = 1000
_MOST_SYMBOLS = 50
"""How many markets a source may have so that all are followed when none are named."""
_KEEP_ALIVE_MS = 10_000
_CLOSE_SECONDS = 2.0
"""How long an exchange may take to say goodbye."""
_FINEST_STEP = Decimal("1E-8")
"""Stands in where the exchange has no fixed step."""
_OPTIONS = {
    "fetchCurrencies": False,
    "tradesLimit": 10_000,
    # Binance: spot only, and the same trades with the same ids over websocket as over REST.
    "fetchMarkets": {"types": ["spot"]},
    "watchTrades": {"name": "aggTrade"},
}

T = TypeVar("T")


class CcxtSource:
    """Implements Source."""

    def __init__(self, exchange: Any, name: str, wanted: Sequence[str], now: Clock) -> None:
        self._exchange = exchange
        self._name = name
        self._wanted = wanted
        self._now = now

    async def symbols(self) -> list[Symbol]:
        markets = await self._asked(self._exchange.load_markets(reload=True))
        spot = {
            f"{market['base']}-{market['quote']}": market
            for market in markets.values()
            if market["spot"] and market["active"] is not False
        }
        if not self._wanted and len(spot) > _MOST_SYMBOLS:
            raise SourceUnavailable(
                f"{self._name} has {len(spot)} spot markets, too many to follow all; name some in MARKETDATA_SYMBOLS"
            )
        if unknown := [name for name in self._wanted if name not in spot]:
            some = ", ".join(sorted(spot)[:10])
            raise SourceUnavailable(
                f"{self._name} has no spot market {', '.join(unknown)}; correct MARKETDATA_SYMBOLS (it has {some}, …)"
            )
        return [self._symbol(name, spot[name]) for name in self._wanted or sorted(spot)]

    async def now(self) -> datetime:
        """The time of the exchange; of its newest trade in the first market where it does not tell the time."""
        if self._exchange.has["fetchTime"]:
            return _moment(await self._asked(self._exchange.fetch_time()))
        first = next(iter(self._exchange.markets))
        trades = await self._asked(self._exchange.fetch_trades(first))
        if not trades:
            raise SourceUnavailable(f"{self._name} neither tells its time nor has trades in {first}")
        return max(_moment(trade["timestamp"]) for trade in trades)

    async def candles(self, symbol: Symbol, interval: Interval, start: datetime) -> list[Candle]:
        rows = await self._asked(
            self._exchange.fetch_ohlcv(
                symbol.source_symbol, _TIMEFRAMES[interval], since=_milliseconds(start), limit=_CANDLES_A_PAGE
            )
        )
        candles = [_candle(symbol.symbol, interval, row) for row in rows]
        return [candle for candle in candles if candle.open_time >= start]

    async def trades(self, symbol: Symbol) -> list[Step]:
        rows = await self._asked(self._exchange.watch_trades(symbol.source_symbol))
        received = self._now()
        return [_trade(symbol.symbol, row, received) for row in rows]

    def _symbol(self, name: str, market: Mapping[str, Any]) -> Symbol:
        base, quote = name.split("-")
        precision, cost = market["precision"], market["limits"]["cost"]
        return Symbol(
            f"{name}@{self._name}",
            base,
            quote,
            self._name,
            market["symbol"],
            self._step(precision["price"]),
            self._step(precision["amount"]),
            _exact(cost["min"] or "0"),
        )

    def _step(self, precision: str | int | None) -> Decimal:
        if precision is None or self._exchange.precisionMode == ccxt.SIGNIFICANT_DIGITS:
            return _FINEST_STEP
        if self._exchange.precisionMode == ccxt.DECIMAL_PLACES:
            return Decimal(1).scaleb(-int(precision))
        return _exact(str(precision))

    async def _asked(self, answer: Awaitable[T]) -> T:
        """``answer``, with everything that can go wrong as SourceUnavailable."""
        try:
            return await answer
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # ccxt cancels what waits for a websocket that it closes.
            raise SourceUnavailable(f"{self._name} closed the connection; it is opened again") from error
        except (ccxt.BaseError, OSError, ArithmeticError, ValueError, KeyError) as error:
            what = f"{type(error).__name__}: {error}"[:300]
            raise SourceUnavailable(
                f"{self._name} ({self._exchange.id}) did not answer as expected: {what}; check that it runs, that this"
                " machine reaches it, and MARKETDATA_EXCHANGE and MARKETDATA_BASE_URL"
            ) from error


@asynccontextmanager
async def open_ccxt_source(
    name: str, exchange_id: str, base_url: str, symbols: Sequence[str], now: Clock = utc_now
) -> AsyncIterator[CcxtSource]:
    """The exchange ``exchange_id`` as the source ``name``, at ``base_url`` or, where that is empty, its own addresses.

    Nothing is connected before the first use. Raises ValueError when ccxt.pro has no such exchange, or one without
    live trades.
    """
    if exchange_id not in ccxt.pro.exchanges:
        raise ValueError(f"MARKETDATA_EXCHANGE={exchange_id}: ccxt.pro has no exchange of this name")
    exchange = getattr(ccxt.pro, exchange_id)({"enableRateLimit": True, "options": _OPTIONS})
    exchange.number = str
    exchange.streaming["keepAlive"] = min(exchange.streaming.get("keepAlive", _KEEP_ALIVE_MS), _KEEP_ALIVE_MS)
    if base_url:
        exchange.urls["api"] = _moved(exchange.urls["api"], base_url.rstrip("/"))
    try:
        if not (exchange.has["watchTrades"] and exchange.has["fetchOHLCV"]):
            raise ValueError(f"MARKETDATA_EXCHANGE={exchange_id}: it has no live trades or no candles")
        yield CcxtSource(exchange, name, symbols, now)
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await exchange.close()


def _moved(urls: Any, base_url: str) -> Any:
    """``urls``, however nested, at the host of ``base_url``: the same paths, ws beside http and wss beside https."""
    if isinstance(urls, dict):
        return {key: _moved(value, base_url) for key, value in urls.items()}
    scheme, path = urlsplit(urls)[0], urlsplit(urls).path
    return ("ws" + base_url.removeprefix("http") if scheme.startswith("ws") else base_url) + path


def _candle(symbol: str, interval: Interval, row: Sequence[Any]) -> Candle:
    time, first, high, low, close, volume = row
    prices = (_exact(first), _exact(high), _exact(low), _exact(close))
    return Candle(symbol, interval, _moment(time), *prices, _exact(volume), Origin.SOURCE)


def _trade(symbol: str, row: Mapping[str, Any], received: datetime) -> Step:
    """The trade in ``row``; a Break when it is not sound."""
    try:
        trade = Trade(
            symbol,
            row["id"],
            _exact(row["price"]),
            _exact(row["amount"]),
            _SIDES.get(row["side"], TakerSide.UNKNOWN),
            _moment(row["timestamp"]),
            received,
        )
    except (ArithmeticError, TypeError, ValueError) as error:
        _log.warning("trade refused", extra={"symbol": symbol, "trade": str(row), "problem": repr(error)})
        return Break()
    if not trade.trade_id or trade.price <= 0 or trade.quantity <= 0:
        _log.warning(
            "trade refused", extra={"symbol": symbol, "trade": str(row), "problem": "no id, price or quantity"}
        )
        return Break()
    return trade


def _exact(number: str) -> Decimal:
    """The number that the text spells, without trailing zeros."""
    return Decimal(number).normalize()


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
