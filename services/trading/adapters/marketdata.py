"""The live market from the marketdata service: symbols, newest prices, and trades for the venue to fill with."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import grpc

from levimesh.client.streams import resume
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc as pb_grpc
from levimesh.marketdata.v1 import symbol_pb2
from services.runtime.clock import Clock
from services.trading import converters as convert
from services.trading.domain.markets import Price, Symbol, Trade
from services.trading.errors import MarketDataUnavailable, StaleMarketData, SymbolNotFound
from services.trading.ports import Records
from services.trading.use_cases.fill_resting_orders import TRADES, FillRestingOrders

_log = logging.getLogger(__name__)

_SYMBOLS_SECONDS = 5.0
_AT_ONCE = 1_000
"""How many tickers a call can ask for."""


class LiveMarket:
    """The market as it was told to this process. It is fresh while its stream speaks and is not behind.

    A stream that beats is up to date; one that sends trades is up to the time at which the newest of them was received.
    So a stream that is away, and one that catches up after it was, both make every price stale. All of this is by our
    clock: the market's own may run at any speed.
    """

    def __init__(self, now: Clock, *, silence: timedelta, price_age: timedelta) -> None:
        self._now = now
        self._silence = silence
        self._price_age = price_age
        self._symbols: dict[str, Symbol] = {}
        self._traded: frozenset[str] = frozenset()
        self._prices: dict[str, Price] = {}
        self._known_until: datetime | None = None
        self.met = asyncio.Event()
        """Set once the market has been fresh."""

    def symbol(self, symbol: str) -> Symbol:
        if not self._symbols:
            raise MarketDataUnavailable("the symbols are not known yet; try again in a second")
        if symbol not in self._symbols:
            raise SymbolNotFound(f"symbol {symbol} is not known; ListSymbols lists them all", symbol=symbol)
        return self._symbols[symbol]

    def price(self, symbol: str) -> Price:
        self.check_fresh()
        price = self._prices.get(symbol)
        if price is None:
            raise StaleMarketData(f"{symbol} has not traded yet", symbol=symbol)
        if self._now() - price.received_at > self._price_age:
            raise StaleMarketData(
                f"{symbol} has not traded for {self._price_age.total_seconds():.0f} seconds", symbol=symbol
            )
        return price

    def last_prices(self, symbols: Collection[str]) -> dict[str, Decimal]:
        if missing := [symbol for symbol in symbols if symbol not in self._prices]:
            raise MarketDataUnavailable(f"the price of {', '.join(sorted(missing))} is not known yet; try again")
        return {symbol: self._prices[symbol].value for symbol in symbols}

    def check_fresh(self) -> None:
        """Raise StaleMarketData unless the market is known up to now."""
        if self._known_until is None or self._now() - self._known_until > self._silence:
            raise StaleMarketData("the market has not been heard of for too long; try again when its feed is back")

    async def ping(self) -> None:
        """Raise MeshError unless every symbol that trades has a price; for a health check."""
        self.check_fresh()
        self.last_prices(self._traded)

    def list_symbols(self, symbols: Sequence[Symbol], traded: Collection[str]) -> None:
        """Take ``symbols`` as all there are, of which trades of ``traded`` come."""
        self._symbols = {symbol.symbol: symbol for symbol in symbols}
        self._traded = frozenset(traded)

    def begin(self, symbol: str, price: Price) -> None:
        """Take ``price`` until the symbol trades."""
        self._prices[symbol] = price

    def trade(self, trades: Sequence[Trade]) -> None:
        """Take note of ``trades``, in the order of their arrival."""
        for trade in trades:
            self._prices[trade.symbol] = Price(trade.price, trade.traded_at, trade.received_at)
            self._known_up_to(trade.received_at)

    def beat(self) -> None:
        """Take note that nothing else has happened up to now."""
        self._known_up_to(self._now())

    def _known_up_to(self, moment: datetime) -> None:
        self._known_until = moment
        if self._now() - moment <= self._silence:
            self.met.set()


class MarketFeed:
    """Keeps a LiveMarket up to date, and hands every trade on."""

    def __init__(
        self,
        marketdata: "pb_grpc.MarketDataServiceAsyncStub",
        market: LiveMarket,
        records: Records,
        fill_resting_orders: FillRestingOrders,
    ) -> None:
        self._marketdata = marketdata
        self._market = market
        self._records = records
        self._fill_resting_orders = fill_resting_orders

    async def refresh_symbols(self) -> None:
        """Ask for the symbols every few seconds, for ever: all rules of a symbol change at one moment."""
        while True:
            await self._list_symbols()
            await asyncio.sleep(_SYMBOLS_SECONDS)

    async def follow(self) -> None:
        """Follow the trades for ever, from behind those that were acted upon before; raises what acting raises."""
        await self._warm()
        async for response in resume(self._open, resume_token=await self._records.cursor(TRADES)):
            match response.WhichOneof("event"):
                case "trades":
                    trades = [convert.trade_from_pb(trade) for trade in response.trades.trades]
                    self._market.trade(trades)
                    await self._fill_resting_orders(trades, response.resume_token)
                case "heartbeat":
                    self._market.beat()
                case "gap":
                    _log.warning("trades were lost", extra={"dropped": response.gap.dropped})
                    await self._warm()

    def _open(self, resume_token: str) -> "grpc.aio.UnaryStreamCall[pb.StreamTradesRequest, pb.StreamTradesResponse]":
        return self._marketdata.StreamTrades(pb.StreamTradesRequest(resume_token=resume_token))

    async def _list_symbols(self) -> list[Symbol]:
        response = await self._marketdata.ListSymbols(pb.ListSymbolsRequest())
        symbols = [convert.symbol_from_pb(symbol) for symbol in response.symbols]
        self._market.list_symbols(symbols, [symbol.symbol for symbol in response.symbols if _trades(symbol)])
        return symbols

    async def _warm(self) -> None:
        """Know a price of every symbol that has one before the stream brings newer ones."""
        names = [symbol.symbol for symbol in await self._list_symbols()]
        for start in range(0, len(names), _AT_ONCE):
            request = pb.BatchGetTickersRequest(symbols=names[start : start + _AT_ONCE])
            for ticker in (await self._marketdata.BatchGetTickers(request)).tickers:
                self._market.begin(ticker.symbol, convert.price_from_pb(ticker))


def _trades(symbol: symbol_pb2.Symbol) -> bool:
    """Whether trades of ``symbol`` are to come: shares and currencies have prices only."""
    return symbol.asset_type == symbol_pb2.ASSET_TYPE_CRYPTO and symbol.state == symbol_pb2.SYMBOL_STATE_ACTIVE
