"""The real trading service on a real database and Redis, over mTLS, with a market and signals that a test makes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from google.type import decimal_pb2

from levimesh.common.v1 import streaming_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2, marketdata_service_pb2_grpc, symbol_pb2, trade_pb2
from levimesh.prediction.v1 import prediction_pb2, prediction_service_pb2, prediction_service_pb2_grpc
from levimesh.trading.v1 import order_pb2, portfolio_pb2
from levimesh.trading.v1 import trading_service_pb2 as pb
from levimesh.trading.v1 import trading_service_pb2_grpc as pb_grpc
from services.runtime import timestamps
from services.runtime.clock import Clock, utc_now
from services.runtime.database import open_database
from services.runtime.errors import FailedPrecondition, ShuttingDown
from services.runtime.journal import RedisJournal, open_journal
from services.trading.bootstrap import Trading, build
from services.trading.settings import TradingSettings
from tests.mesh import Served, a_token, bearing, serving

if TYPE_CHECKING:
    from levimesh.trading.v1.trading_service_pb2_grpc import TradingServiceAsyncStub

SERVICE = pb.DESCRIPTOR.services_by_name["TradingService"]
MARKETDATA = marketdata_service_pb2.DESCRIPTOR.services_by_name["MarketDataService"]
PREDICTION = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"]

BTC = "BTC-USDT@simex"
ETH = "ETH-USDT@simex"
BUY, SELL = order_pb2.SIDE_BUY, order_pb2.SIDE_SELL
ANN, BOB = (f"6f1c1f0e-0000-4000-8000-00000000000{number}" for number in (1, 2))
MARKET_TIME = datetime(2021, 5, 1, 12, tzinfo=UTC)
"""The market's clock need not be ours."""


def number(text: str | int | Decimal) -> decimal_pb2.Decimal:
    """A number as the contract spells it."""
    return decimal_pb2.Decimal(value=str(text))


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for is behind a network
            await asyncio.sleep(0.01)


class _Tape:
    """Messages that any number of readers follow from any place on; a token is the number of messages read."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self._news = asyncio.Event()
        self._interruptions = 0

    def append(self, message: Any) -> None:
        self.messages.append(message)
        self._wake()

    def interrupt(self) -> None:
        """Every reader's stream breaks."""
        self._interruptions += 1
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self, resume_token: str, response_type: Callable[..., Any], name: str) -> AsyncIterator[Any]:
        seen = int(resume_token) if resume_token else len(self.messages)
        interruptions = self._interruptions
        if seen == len(self.messages):
            yield response_type(resume_token=str(seen), heartbeat=streaming_pb2.Heartbeat())
        while interruptions == self._interruptions:
            news = self._news
            while seen < len(self.messages):
                message = self.messages[seen]
                seen += 1
                kind = "gap" if isinstance(message, streaming_pb2.Gap) else name
                yield response_type(resume_token=str(seen), **{kind: message})
            await news.wait()
        raise ShuttingDown("the stream broke")


class FakeMarketData(marketdata_service_pb2_grpc.MarketDataServiceServicer):
    """A marketdata service whose trades the test makes."""

    def __init__(self) -> None:
        self.tape = _Tape()
        self.prices: dict[str, str] = {}
        self.received_at: dict[str, datetime] = {}
        """When the prices reached the mesh, where that was not just now."""
        self.symbols = {
            symbol: symbol_pb2.Symbol(
                symbol=symbol, price_step=number("0.01"), quantity_step=number("0.00001"), min_notional=number("5")
            )
            for symbol in (BTC, ETH)
        }

    def trade(
        self,
        price: str,
        quantity: str = "1",
        *,
        symbol: str = BTC,
        trade_id: str | None = None,
        market_time: datetime = MARKET_TIME,
        received_at: datetime | None = None,
    ) -> None:
        """Something is traded."""
        trade = trade_pb2.Trade(
            symbol=symbol,
            trade_id=trade_id or str(uuid4()),
            price=number(price),
            quantity=number(quantity),
            trade_time=timestamps.to_pb(market_time),
            receive_time=timestamps.to_pb(received_at or utc_now()),
        )
        self.prices[symbol] = price
        self.tape.append(trade_pb2.TradeBatch(trades=[trade]))

    async def ListSymbols(self, request: Any, context: Any) -> marketdata_service_pb2.ListSymbolsResponse:
        return marketdata_service_pb2.ListSymbolsResponse(symbols=self.symbols.values())

    async def GetTicker(self, request: Any, context: Any) -> marketdata_service_pb2.GetTickerResponse:
        if request.symbol not in self.prices:
            raise NotTradedYet("not traded yet")
        ticker = trade_pb2.Ticker(
            symbol=request.symbol,
            last_price=number(self.prices[request.symbol]),
            last_trade_time=timestamps.to_pb(MARKET_TIME),
            last_receive_time=timestamps.to_pb(self.received_at.get(request.symbol, utc_now())),
        )
        return marketdata_service_pb2.GetTickerResponse(ticker=ticker)

    async def StreamTrades(
        self, request: Any, context: Any
    ) -> AsyncIterator[marketdata_service_pb2.StreamTradesResponse]:
        responses = self.tape.follow(request.resume_token, marketdata_service_pb2.StreamTradesResponse, "trades")
        async for response in responses:
            yield response

    async def GetCandles(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def ListBackfills(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    def StreamCandles(self, request: Any, context: Any) -> Any:
        raise NotImplementedError


class NotTradedYet(FailedPrecondition):
    reason = "NO_MARKET_DATA"


class FakePrediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    """A prediction service whose signals the test makes."""

    def __init__(self) -> None:
        self.tape = _Tape()

    def signal(
        self,
        direction: "prediction_pb2.Direction.ValueType" = prediction_pb2.DIRECTION_UP,
        *,
        symbol: str = BTC,
        closed_at: datetime = MARKET_TIME,
        prediction_id: str = "",
    ) -> str:
        """A signal is given. Returns its id."""
        prediction = prediction_pb2.Prediction(
            prediction_id=prediction_id or str(uuid4()),
            symbol=symbol,
            direction=direction,
            candle_close_time=timestamps.to_pb(closed_at),
        )
        self.tape.append(prediction_pb2.SignalBatch(signals=[prediction_pb2.Signal(prediction=prediction)]))
        return prediction.prediction_id

    async def StreamSignals(
        self, request: Any, context: Any
    ) -> AsyncIterator[prediction_service_pb2.StreamSignalsResponse]:
        responses = self.tape.follow(request.resume_token, prediction_service_pb2.StreamSignalsResponse, "signals")
        async for response in responses:
            yield response

    async def Predict(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def ListModels(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def GetModel(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def GetTraining(self, request: Any, context: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Trader:
    """A user at the gateway."""

    stub: "TradingServiceAsyncStub"
    metadata: tuple[tuple[str, str], ...]

    async def submit(
        self,
        side: "order_pb2.Side.ValueType" = BUY,
        quantity: str = "1",
        limit: str | None = None,
        *,
        symbol: str = BTC,
        client_id: str = "",
    ) -> order_pb2.Order:
        """A limit order if ``limit`` is given, else a market order."""
        request = pb.SubmitOrderRequest(
            client_order_id=client_id or str(uuid4()),
            symbol=symbol,
            side=side,
            type=order_pb2.ORDER_TYPE_LIMIT if limit else order_pb2.ORDER_TYPE_MARKET,
            quantity=number(quantity),
            limit_price=number(limit) if limit else None,
        )
        return (await self.stub.SubmitOrder(request, metadata=self.metadata)).order

    async def cancel(self, order_id: str) -> order_pb2.Order:
        """The order without its open rest."""
        return (await self.stub.CancelOrder(pb.CancelOrderRequest(order_id=order_id), metadata=self.metadata)).order

    async def order(self, order_id: str) -> order_pb2.Order:
        """The order as it is now."""
        return (await self.stub.GetOrder(pb.GetOrderRequest(order_id=order_id), metadata=self.metadata)).order

    async def orders(self, **request: Any) -> Sequence[order_pb2.Order]:
        """The newest orders first."""
        return (await self.stub.ListOrders(pb.ListOrdersRequest(**request), metadata=self.metadata)).orders

    async def fills(self, **request: Any) -> Sequence[order_pb2.Fill]:
        """The newest fills first."""
        return (await self.stub.ListFills(pb.ListFillsRequest(**request), metadata=self.metadata)).fills

    async def portfolio(self) -> portfolio_pb2.Portfolio:
        """What the account owns."""
        return (await self.stub.GetPortfolio(pb.GetPortfolioRequest(), metadata=self.metadata)).portfolio

    async def becomes(self, order_id: str, status: "order_pb2.OrderStatus.ValueType") -> order_pb2.Order:
        """The order, once it has that status."""

        async def has_become() -> bool:
            return (await self.order(order_id)).status == status

        await until(has_become)
        return await self.order(order_id)

    async def sees(self, price: str, symbol: str = BTC) -> None:
        """Wait until the newest price that the service knows is ``price``; the trader must hold some of the symbol."""

        async def is_seen() -> bool:
            positions = (await self.portfolio()).positions
            return any(p.symbol == symbol and p.last_price.value == price for p in positions)

        await until(is_seen)


@dataclass
class World:
    """The surroundings of trading services: they outlive a service that is stopped and started again."""

    database_url: str
    redis_url: str
    certificates: Path
    marketdata: FakeMarketData
    prediction: FakePrediction
    marketdata_served: Served
    prediction_served: Served

    def settings(self, **settings: Any) -> TradingSettings:
        """Settings of a service in this world."""
        folder = self.certificates / "trading"
        values: dict[str, Any] = {
            "port": 0,
            "tls_certificate": folder / "certificate.pem",
            "tls_private_key": folder / "private_key.pem",
            "tls_trust_bundle": self.certificates / "ca.pem",
            "database_url": self.database_url,
            "redis_url": self.redis_url,
            "marketdata_target": self.marketdata_served.target,
            "prediction_target": self.prediction_served.target,
            # The market of the tests beats only once.
            "market_silence_seconds": 120,
            **settings,
        }
        return TradingSettings(**values)

    @asynccontextmanager
    async def trading(
        self,
        *,
        without: Sequence[str] = (),
        now: Clock = utc_now,
        journal: Callable[[RedisJournal], RedisJournal] = lambda journal: journal,
        **settings: Any,
    ) -> AsyncIterator["RunningTrading"]:
        """A running service, whose background work goes on except what is named in ``without``."""
        values = self.settings(**settings)
        async with (
            open_database(values.database_url) as engine,
            open_journal(values.redis_url) as redis,
        ):
            trading = build(
                values,
                engine,
                journal(redis),
                marketdata_service_pb2_grpc.MarketDataServiceStub(
                    self.marketdata_served.channel(MARKETDATA, "trading")
                ),
                prediction_service_pb2_grpc.PredictionServiceStub(
                    self.prediction_served.channel(PREDICTION, "trading")
                ),
                now=now,
            )
            async with serving({SERVICE: trading.servicer}, self.certificates, workload="trading") as served:
                tasks = {
                    name: asyncio.ensure_future(work()) for name, work in trading.work.items() if name not in without
                }
                try:
                    yield RunningTrading(trading, served, tasks)
                finally:
                    failed = [task for task in tasks.values() if task.done()]
                    for task in tasks.values():
                        task.cancel()
                    await asyncio.gather(*tasks.values(), return_exceptions=True)
                for task in failed:
                    task.result()


@dataclass(frozen=True)
class RunningTrading:
    """A trading service and how to call it."""

    trading: Trading
    served: Served
    work: Mapping[str, "asyncio.Future[None]"]
    """The background work by name."""
    _stubs: dict[str, "TradingServiceAsyncStub"] = field(default_factory=dict)

    def user(self, user_id: str = ANN, *roles: str) -> Trader:
        """A user, a trader unless other roles are given."""
        stub = self._stubs.setdefault("gateway", pb_grpc.TradingServiceStub(self.served.channel(SERVICE)))
        return Trader(stub, bearing(a_token(*(roles or ("ROLE_TRADER",)), user_id=user_id)))

    async def meets_the_market(self) -> None:
        """Wait until the service knows the market up to now."""

        async def is_met() -> bool:
            try:
                await self.trading.wants["marketdata"]()
            except FailedPrecondition:
                return False
            return True

        await until(is_met)


@asynccontextmanager
async def a_world(database_url: str, redis_url: str, certificates: Path) -> AsyncIterator[World]:
    """A world in which BTC was last traded at 100 and ETH at 10."""
    marketdata, prediction = FakeMarketData(), FakePrediction()
    marketdata.prices = {BTC: "100.00", ETH: "10.00"}
    async with (
        serving({MARKETDATA: marketdata}, certificates, workload="marketdata") as marketdata_served,
        serving({PREDICTION: prediction}, certificates, workload="prediction") as prediction_served,
    ):
        yield World(database_url, redis_url, certificates, marketdata, prediction, marketdata_served, prediction_served)
