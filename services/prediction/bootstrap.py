"""Puts the parts of the service together; what differs between a process and a test is passed in."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncEngine

from services.prediction.adapters.artifacts import StoredArtifacts
from services.prediction.adapters.lightgbm_model import LightGbmClassifier
from services.prediction.adapters.marketdata import GrpcMarket
from services.prediction.adapters.postgres import SqlPredictionLog, SqlRegistry
from services.prediction.adapters.publisher import TOPIC, SignalPublisher
from services.prediction.adapters.training_process import TrainingProcess
from services.prediction.domain.trainings import Plan
from services.prediction.servicer import PredictionServicer
from services.prediction.serving import Serving
from services.prediction.settings import PredictionSettings
from services.prediction.use_cases.follow_candles import FollowCandles
from services.prediction.use_cases.read_models import GetModel
from services.prediction.use_cases.refresh_symbols import RefreshSymbols
from services.prediction.use_cases.train_first_model import LoadActiveModel, TrainFirstModel
from services.runtime.broadcast import Broadcast
from services.runtime.clock import Clock, utc_now
from services.runtime.database import ping
from services.runtime.journal import RedisJournal
from services.runtime.object_store import ObjectStore

if TYPE_CHECKING:
    from levimesh.marketdata.v1.marketdata_service_pb2_grpc import MarketDataServiceAsyncStub

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Prediction:
    """The service, ready to run."""

    servicer: PredictionServicer
    work: Mapping[str, Work]
    """What runs in the background, by name."""
    needs: Mapping[str, Work]
    """Checks of what every method needs, by name."""
    wants: Mapping[str, Work]
    """Checks of what only some methods need, by name."""


def build(
    settings: PredictionSettings,
    engine: AsyncEngine,
    journal: RedisJournal,
    marketdata: "MarketDataServiceAsyncStub",
    *,
    now: Clock = utc_now,
) -> Prediction:
    """The service on these connections."""
    market = GrpcMarket(marketdata)
    serving = Serving()
    registry = SqlRegistry(engine)
    artifacts = StoredArtifacts(ObjectStore(settings.model_store_url))
    publisher = SignalPublisher(engine, journal)
    signals = Broadcast(journal, TOPIC)
    train_first_model = TrainFirstModel(
        LoadActiveModel(registry, artifacts, LightGbmClassifier, serving),
        market,
        TrainingProcess(),
        registry,
        artifacts,
        now,
        _plan(settings),
        symbols=settings.symbols,
        span=timedelta(days=settings.training_days),
        retry_seconds=settings.training_retry_seconds,
    )
    follow_candles = FollowCandles(market, serving, SqlPredictionLog(engine, publisher.wake), now, settings.symbols)
    refresh_symbols = RefreshSymbols(market, serving, now, settings.symbols)
    servicer = PredictionServicer(
        serving=serving,
        registry=registry,
        get_model=GetModel(registry),
        training=lambda: train_first_model.training,
        signals=signals,
    )

    async def check_model() -> None:
        serving.current()

    return Prediction(
        servicer,
        work={
            "symbols": refresh_symbols,
            "first model": train_first_model,
            "candle follower": follow_candles,
            "signal publisher": publisher.run,
            "signal broadcast": signals.run,
        },
        needs={"database": partial(ping, engine)},
        wants={"redis": journal.ping, "marketdata": refresh_symbols.check, "model": check_model},
    )


def _plan(settings: PredictionSettings) -> Plan:
    return Plan(
        horizon=settings.training_horizon,
        signal_share=settings.training_signal_share,
        min_rows=settings.training_min_rows,
        threads=settings.training_threads,
    )
