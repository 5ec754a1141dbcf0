"""The services that trading listens to: what their markets and models say is made by each test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from google.type import decimal_pb2

from levimesh.common.v1 import streaming_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2, marketdata_service_pb2_grpc, symbol_pb2, trade_pb2
from levimesh.prediction.v1 import prediction_pb2, prediction_service_pb2, prediction_service_pb2_grpc
from services.runtime import timestamps
from services.runtime.clock import utc_now
from services.runtime.errors import ShuttingDown

if TYPE_CHECKING:
    pass

MARKETDATA = marketdata_service_pb2.DESCRIPTOR.services_by_name["MarketDataService"]
PREDICTION = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"]

BTC = "BTC-USDT@simex"
ETH = "ETH-USDT@simex"
MARKET_TIME = datetime(2021, 5, 1, 12, tzinfo=UTC)
"""The market's clock need not be ours."""


def number(text: str | int | Decimal) -> decimal_pb2.Decimal:
    """A number as the contract spells it."""
    return decimal_pb2.Decimal(value=str(text))


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
                asset_type=symbol_pb2.ASSET_TYPE_CRYPTO,
                state=symbol_pb2.SYMBOL_STATE_ACTIVE,
                symbol=symbol,
                price_step=number("0.01"),
                quantity_step=number("0.00001"),
                min_notional=number("5"),
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

    async def BatchGetTickers(self, request: Any, context: Any) -> marketdata_service_pb2.BatchGetTickersResponse:
        traded = [symbol for symbol in request.symbols if symbol in self.prices]
        missing = [symbol for symbol in request.symbols if symbol not in self.prices]
        return marketdata_service_pb2.BatchGetTickersResponse(tickers=map(self._ticker, traded), missing=missing)

    def _ticker(self, symbol: str) -> trade_pb2.Ticker:
        return trade_pb2.Ticker(
            symbol=symbol,
            last_price=number(self.prices[symbol]),
            last_trade_time=timestamps.to_pb(MARKET_TIME),
            last_receive_time=timestamps.to_pb(self.received_at.get(symbol, utc_now())),
        )

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

    async def GetTicker(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def ConvertPrice(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def GetIndicators(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def ListTrades(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    def MarketDataStream(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    def StreamMarketData(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    def StreamCandles(self, request: Any, context: Any) -> Any:
        raise NotImplementedError


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
