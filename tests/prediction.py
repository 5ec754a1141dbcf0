"""The real prediction service on a real database and Redis, over mTLS, with a market whose candles a test makes."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from google.type import decimal_pb2

from levimesh.common.v1 import streaming_pb2
from levimesh.marketdata.v1 import candle_pb2, marketdata_service_pb2_grpc, symbol_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as marketdata_pb
from levimesh.prediction.v1 import model_pb2, prediction_pb2
from levimesh.prediction.v1 import prediction_service_pb2 as pb
from levimesh.prediction.v1 import prediction_service_pb2_grpc as pb_grpc
from services.prediction.adapters.artifacts import StoredArtifacts
from services.prediction.adapters.postgres import SqlRegistry
from services.prediction.bootstrap import Prediction, build
from services.prediction.domain.market import Bar, from_ms
from services.prediction.domain.models import Model
from services.prediction.domain.trainings import Plan, Trained
from services.prediction.learning.training import train
from services.prediction.settings import PredictionSettings
from services.runtime import timestamps
from services.runtime.database import open_database
from services.runtime.journal import RedisJournal, open_journal
from services.runtime.object_store import ObjectStore
from tests.candles import bars_of
from tests.mesh import Served, a_token, bearing, serving

if TYPE_CHECKING:
    from levimesh.prediction.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub

SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"]
MARKETDATA = marketdata_pb.DESCRIPTOR.services_by_name["MarketDataService"]

BTC = "BTC-USDT@simex"
ETH = "ETH-USDT@simex"
VIEWER = bearing(a_token("ROLE_VIEWER"))
MODEL = "lightgbm-of-the-test"


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 15) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for is on the other side of a wire
            await asyncio.sleep(0.01)


def a_returning_market(count: int, seed: int = 1) -> list[Bar]:
    """A price that returns to its level, what fell rises: there is something to predict."""
    level, closes = 0.0, []
    for shock in np.random.default_rng(seed).normal(0, 0.01, count).tolist():
        level = 0.7 * level + shock
        closes.append(round(100 * float(np.exp(level)), 4))
    return bars_of(closes)


@cache
def a_trained_model() -> Trained:
    """A model of the returning market."""
    plan = Plan(rounds=20, patience=10, learning_rate=0.2, min_rows=100)
    return train({BTC: a_returning_market(3000, 7)}, plan, lambda _stage, _fraction: None)


def candle_of(symbol: str, bar: Bar) -> candle_pb2.Candle:
    """The message of a candle."""

    def number(value: float) -> decimal_pb2.Decimal:
        return decimal_pb2.Decimal(value=format(Decimal(repr(value)), "f"))

    return candle_pb2.Candle(
        symbol=symbol,
        interval=candle_pb2.INTERVAL_5M,
        open_time=timestamps.to_pb(from_ms(bar.open_time_ms)),
        close_time=timestamps.to_pb(from_ms(bar.close_time_ms)),
        open=number(bar.open),
        high=number(bar.high),
        low=number(bar.low),
        close=number(bar.close),
        volume=number(bar.volume),
    )


class FakeMarketData(marketdata_service_pb2_grpc.MarketDataServiceServicer):
    """A marketdata service with the candles that a test gives it; a resume token is the number of candles sent."""

    def __init__(self) -> None:
        self.stored: dict[str, list[candle_pb2.Candle]] = {BTC: [], ETH: []}
        self.complete = True
        self.streams = 0
        """How often the stream was opened."""
        self._tape: list[candle_pb2.Candle | None] = []
        self._cut = asyncio.Event()
        self._news = asyncio.Event()

    def store(self, symbol: str, bars: Sequence[Bar]) -> None:
        """Candles that no stream shows."""
        self.stored[symbol].extend(candle_of(symbol, bar) for bar in bars)
        self.stored[symbol].sort(key=lambda candle: candle.open_time.ToMilliseconds())

    def complete_candle(self, symbol: str, bar: Bar) -> None:
        """A candle is complete: stored, then sent."""
        self.store(symbol, [bar])
        self._tell(candle_of(symbol, bar))

    def lose(self) -> None:
        """Tell the readers that something was lost."""
        self._tell(None)

    def cut(self) -> None:
        """Break every stream."""
        self._cut.set()
        self._cut = asyncio.Event()

    async def ListSymbols(self, request: Any, context: Any) -> marketdata_pb.ListSymbolsResponse:
        return marketdata_pb.ListSymbolsResponse(symbols=[symbol_pb2.Symbol(symbol=symbol) for symbol in self.stored])

    async def ListBackfills(self, request: Any, context: Any) -> marketdata_pb.ListBackfillsResponse:
        backfills = [
            candle_pb2.Backfill(
                symbol=symbol,
                interval=interval,
                start_time=candles[0].open_time if candles else None,
                end_time=candles[-1].open_time if candles else None,
                total_candles=10_000,
                stored_candles=len(candles),
                complete=self.complete,
            )
            for symbol, candles in self.stored.items()
            for interval in (candle_pb2.INTERVAL_1M, candle_pb2.INTERVAL_5M)
        ]
        return marketdata_pb.ListBackfillsResponse(backfills=backfills)

    async def GetCandles(
        self, request: marketdata_pb.GetCandlesRequest, context: Any
    ) -> marketdata_pb.GetCandlesResponse:
        candles = self.stored[request.symbol]
        size = request.page_size or 500
        if not request.HasField("start_time"):
            return marketdata_pb.GetCandlesResponse(candles=candles[-size:])
        start = request.start_time.ToMilliseconds()
        wanted = [candle for candle in candles if candle.open_time.ToMilliseconds() >= start]
        first = int(request.page_token or 0)
        more = str(first + size) if first + size < len(wanted) else ""
        return marketdata_pb.GetCandlesResponse(candles=wanted[first : first + size], next_page_token=more)

    async def StreamCandles(
        self, request: marketdata_pb.StreamCandlesRequest, context: Any
    ) -> AsyncIterator[marketdata_pb.StreamCandlesResponse]:
        self.streams += 1
        cut = self._cut
        sent = int(request.resume_token) if request.resume_token else len(self._tape)
        yield marketdata_pb.StreamCandlesResponse(resume_token=str(sent), heartbeat=streaming_pb2.Heartbeat())
        while not cut.is_set():
            news = self._news
            while sent < len(self._tape):
                candle, sent = self._tape[sent], sent + 1
                if candle is None:
                    gap = streaming_pb2.Gap(cause=streaming_pb2.GAP_CAUSE_RETENTION)
                    yield marketdata_pb.StreamCandlesResponse(resume_token=str(sent), gap=gap)
                elif not request.symbols or candle.symbol in request.symbols:
                    batch = candle_pb2.CandleBatch(candles=[candle])
                    yield marketdata_pb.StreamCandlesResponse(resume_token=str(sent), candles=batch)
            waits = [asyncio.ensure_future(event.wait()) for event in (news, cut)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    async def GetTicker(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def BatchGetTickers(self, request: Any, context: Any) -> Any:
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

    def StreamTrades(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    def _tell(self, candle: candle_pb2.Candle | None) -> None:
        self._tape.append(candle)
        self._news.set()
        self._news = asyncio.Event()


@dataclass
class World:
    """The surroundings of prediction services: they outlive a service that is stopped and started again."""

    database_url: str
    redis_url: str
    certificates: Path
    models: Path
    marketdata: FakeMarketData
    marketdata_served: Served

    def settings(self, **settings: Any) -> PredictionSettings:
        """Settings of a service in this world."""
        folder = self.certificates / "prediction"
        values: dict[str, Any] = {
            "port": 0,
            "tls_certificate": folder / "certificate.pem",
            "tls_private_key": folder / "private_key.pem",
            "tls_trust_bundle": self.certificates / "ca.pem",
            "database_url": self.database_url,
            "redis_url": self.redis_url,
            "marketdata_target": self.marketdata_served.target,
            "model_store_url": self.models.as_uri(),
            "training_min_rows": 100,
            "training_retry_seconds": 0.1,
            **settings,
        }
        return PredictionSettings(**values)

    async def has_a_model(self, trained: Trained | None = None, version: str = MODEL) -> None:
        """Register and activate a model, as an earlier training would have."""
        trained = trained or a_trained_model()
        sha256 = hashlib.sha256(trained.artifact).hexdigest()
        await StoredArtifacts(ObjectStore(self.models.as_uri())).put(version, trained.artifact)
        async with open_database(self.settings().database_url) as engine:
            model = Model(version, True, datetime(2024, 9, 1, tzinfo=UTC), sha256, trained.card)
            await SqlRegistry(engine).activate(model)

    @asynccontextmanager
    async def prediction(
        self,
        *,
        without: Sequence[str] = (),
        journal: Callable[[RedisJournal], RedisJournal] = lambda journal: journal,
        **settings: Any,
    ) -> AsyncIterator["RunningPrediction"]:
        """A running service, whose background work goes on except what is named in ``without``."""
        values = self.settings(**settings)
        async with open_database(values.database_url) as engine, open_journal(values.redis_url) as redis:
            channel = self.marketdata_served.channel(MARKETDATA, "prediction")
            stub = marketdata_service_pb2_grpc.MarketDataServiceStub(channel)
            prediction = build(values, engine, journal(redis), stub)
            async with serving({SERVICE: prediction.servicer}, self.certificates, workload="prediction") as served:
                work = {name: work for name, work in prediction.work.items() if name not in without}
                tasks = [asyncio.ensure_future(work()) for work in work.values()]
                try:
                    yield RunningPrediction(prediction, pb_grpc.PredictionServiceStub(served.channel(SERVICE)), redis)
                finally:
                    failed = [task for task in tasks if task.done()]
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
                for task in failed:
                    task.result()


@dataclass(frozen=True)
class RunningPrediction:
    """A prediction service and how to call it, as a viewer."""

    prediction: Prediction
    stub: "PredictionServiceAsyncStub"
    journal: RedisJournal

    async def predict(self, symbol: str = BTC) -> prediction_pb2.Prediction:
        """What is said about the newest candle."""
        return (await self.stub.Predict(pb.PredictRequest(symbol=symbol), metadata=VIEWER)).prediction

    async def predicts_on(self, bar: Bar, symbol: str = BTC) -> prediction_pb2.Prediction:
        """The prediction on ``bar``, as soon as it is there."""

        async def is_there() -> bool:
            with suppress(grpc.aio.AioRpcError):
                said = await self.predict(symbol)
                return said.candle_close_time.ToMilliseconds() == bar.close_time_ms
            return False

        await until(is_there)
        return await self.predict(symbol)

    async def training(self) -> model_pb2.Training:
        """How far the training is."""
        return (await self.stub.GetTraining(pb.GetTrainingRequest(), metadata=VIEWER)).training

    async def model(self, version: str = "active") -> model_pb2.Model:
        """A model with its card."""
        return (await self.stub.GetModel(pb.GetModelRequest(model_version=version), metadata=VIEWER)).model

    async def published(self) -> list[prediction_pb2.Signal]:
        """All signals in the journal."""
        entries = await self.journal.read("prediction.signals", "0-0", 10_000)
        return [prediction_pb2.Signal.FromString(entry.event) for entry in entries]


@asynccontextmanager
async def a_world(database_url: str, redis_url: str, certificates: Path, models: Path) -> AsyncIterator[World]:
    """A world without candles and models."""
    marketdata = FakeMarketData()
    async with serving({MARKETDATA: marketdata}, certificates, workload="marketdata") as served:
        yield World(database_url, redis_url, certificates, models, marketdata, served)
