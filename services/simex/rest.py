"""Binance's public REST endpoints."""

import json
import re
from collections.abc import Callable, Mapping
from functools import partial

from aiohttp import web

from services.simex import errors, wire
from services.simex.book import BookMaker
from services.simex.intervals import INTERVALS_MS
from services.simex.market import Listing, Market

_SYMBOL = re.compile(r"^[A-Z0-9]{1,20}$")
_DEPTH_LIMIT, _LIMIT = 5000, 1000
_EVER = 2**62

_compact = partial(json.dumps, separators=(",", ":"))

Query = Mapping[str, str]


def answer(data: object, status: int = 200) -> web.Response:
    """``data`` as JSON, written as tightly as Binance does."""
    return web.json_response(data, status=status, dumps=_compact)


def whole(query: Query, name: str, default: int | None = None) -> int | None:
    """The integer parameter ``name``; refuses what is not one."""
    if name not in query:
        return default
    if not re.fullmatch(r"\d{1,18}", query[name]):
        raise errors.illegal(name, r"^[0-9]{1,18}$")
    return int(query[name])


def limit_of(query: Query, default: int, most: int = _LIMIT) -> int:
    """The parameter ``limit``, at most ``most``."""
    limit = whole(query, "limit", default) or 0
    if limit < 1:
        raise errors.illegal("limit", "^[1-9][0-9]*$")
    return min(limit, most)


class PublicApi:
    """Answers from the market at the time of the request."""

    def __init__(self, market: Market, books: dict[str, BookMaker]) -> None:
        self._market = market
        self._books = books

    def routes(self) -> list[web.RouteDef]:
        """All public endpoints."""
        paths = {
            "ping": self.ping,
            "time": self.time,
            "exchangeInfo": self.exchange_info,
            "klines": self.klines,
            "trades": self.trades,
            "historicalTrades": self.historical_trades,
            "aggTrades": self.aggregate_trades,
            "depth": self.depth,
            "ticker/24hr": self.day_ticker,
            "ticker/price": self.price_ticker,
            "ticker/bookTicker": self.book_ticker,
        }
        return [web.get(f"/api/v3/{path}", handler) for path, handler in paths.items()]

    def listing(self, query: Query) -> Listing:
        """The symbol that a request names."""
        symbol = query.get("symbol")
        if not symbol:
            raise errors.mandatory("symbol")
        if not _SYMBOL.match(symbol):
            raise errors.illegal("symbol", "^[A-Z0-9-_.]{1,20}$")
        if symbol not in self._market.listings:
            raise errors.bad_symbol()
        return self._market.listings[symbol]

    async def ping(self, _: web.Request) -> web.Response:
        """Whether the exchange is ready."""
        return answer({})

    async def time(self, _: web.Request) -> web.Response:
        """The exchange's clock."""
        return answer({"serverTime": self._market.clock.now_ms()})

    async def exchange_info(self, request: web.Request) -> web.Response:
        """The symbols and their rules."""
        listings = self._listings(request.query)
        return answer(
            {
                "timezone": "UTC",
                "serverTime": self._market.clock.now_ms(),
                "rateLimits": [],
                "exchangeFilters": [],
                "symbols": [wire.symbol_info(listing) for listing in listings],
            }
        )

    async def klines(self, request: web.Request) -> web.Response:
        """Candles: the first from ``startTime`` on, or else the last."""
        query, listing = request.query, self.listing(request.query)
        if "interval" not in query:
            raise errors.mandatory("interval")
        if query["interval"] not in INTERVALS_MS:
            raise errors.bad_interval()
        interval_ms, limit = INTERVALS_MS[query["interval"]], limit_of(query, 500)
        start_ms, end_ms = whole(query, "startTime"), whole(query, "endTime", _EVER - 1) or 0
        if start_ms is None:
            candles = listing.last_klines(interval_ms, limit, end_ms + 1)
        else:
            first_ms = -(-max(start_ms, listing.start_ms // interval_ms * interval_ms) // interval_ms) * interval_ms
            candles = listing.klines(interval_ms, first_ms, min(end_ms + 1, first_ms + limit * interval_ms))
        return answer(wire.klines(listing.instrument, candles, interval_ms))

    async def trades(self, request: web.Request) -> web.Response:
        """The last trades."""
        listing = self.listing(request.query)
        return answer(wire.trades(listing.instrument, listing.last_trades(limit_of(request.query, 500))))

    async def historical_trades(self, request: web.Request) -> web.Response:
        """Trades from an id on, or the last."""
        query, listing = request.query, self.listing(request.query)
        limit, first = limit_of(query, 500), whole(query, "fromId")
        trades = listing.last_trades(limit) if first is None else listing.trades_from(first, limit)
        return answer(wire.trades(listing.instrument, trades))

    async def aggregate_trades(self, request: web.Request) -> web.Response:
        """Trades from an id on, of a span of time, or the last."""
        query, listing = request.query, self.listing(request.query)
        limit, first = limit_of(query, 500), whole(query, "fromId")
        start_ms, end_ms = whole(query, "startTime"), whole(query, "endTime", _EVER - 1) or 0
        if first is not None:
            if "startTime" in query or "endTime" in query:
                raise errors.bad_combination()
            trades = listing.trades_from(first, limit)
        elif start_ms is not None:
            trades = listing.first_trades(start_ms, end_ms + 1, limit)
        else:
            trades = listing.last_trades(limit, end_ms + 1)
        return answer(wire.aggregate_trades(listing.instrument, trades))

    async def depth(self, request: web.Request) -> web.Response:
        """The order book."""
        listing, limit = self.listing(request.query), limit_of(request.query, 100, _DEPTH_LIMIT)
        book = self._books[listing.instrument.symbol].now()
        return answer(wire.depth(listing.instrument, book, limit))

    async def day_ticker(self, request: web.Request) -> web.Response:
        """The last 24 hours of one symbol or of several."""
        return self._each(
            request.query,
            lambda listing: wire.day_ticker(listing, listing.day(), self._books[listing.instrument.symbol].now()),
        )

    async def price_ticker(self, request: web.Request) -> web.Response:
        """The last price of one symbol or of several."""
        return self._each(request.query, _price)

    async def book_ticker(self, request: web.Request) -> web.Response:
        """The best bid and ask of one symbol or of several."""
        return self._each(
            request.query,
            lambda listing: wire.book_ticker(listing.instrument, self._books[listing.instrument.symbol].now()),
        )

    def _listings(self, query: Query) -> list[Listing]:
        """The symbols named by ``symbol`` or ``symbols``, all where neither is."""
        if "symbol" in query:
            return [self.listing(query)]
        if "symbols" not in query:
            return list(self._market.listings.values())
        try:
            symbols = json.loads(query["symbols"])
        except ValueError:
            symbols = None
        if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
            raise errors.illegal("symbols", '["BTCUSDT","ETHUSDT"]')
        return [self.listing({"symbol": symbol}) for symbol in symbols]

    def _each(self, query: Query, make: Callable[[Listing], wire.Json]) -> web.Response:
        rows = [make(listing) for listing in self._listings(query)]
        return answer(rows[0] if "symbol" in query else rows)


def _price(listing: Listing) -> wire.Json:
    last = listing.last_trades(1)
    instrument = listing.instrument
    return {"symbol": instrument.symbol, "price": instrument.price_text(int(last.prices[0]) if len(last) else 0)}
