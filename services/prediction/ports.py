"""What the use cases stand on."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.prediction.domain.market import Bar, Candle
from services.prediction.domain.models import Model
from services.prediction.domain.predictions import Prediction, Signal
from services.prediction.domain.trainings import Plan, Progress, Trained
from services.prediction.features.engine import FeatureVector


@dataclass(frozen=True, slots=True)
class Backfill:
    """How far marketdata has fetched the five-minute history of a symbol."""

    symbol: str
    end_time: datetime
    """Open time of the last candle wanted."""
    total: int
    stored: int
    complete: bool


class Missed:
    """Candles may have been stored that the live stream did not and will not show."""


class Market(Protocol):
    """The candles of the market, past and live. Raises grpc.aio.AioRpcError when its service is away."""

    async def symbols(self) -> frozenset[str]:
        """All symbols."""

    async def backfills(self) -> list[Backfill]:
        """The state of the histories that are being fetched or have been."""

    def candles(self, symbol: str, start: datetime) -> AsyncIterator[Sequence[Candle]]:
        """The complete candles that open at ``start`` or later, in order, a page at a time."""

    async def newest(self, symbol: str, count: int) -> Sequence[Candle]:
        """The newest ``count`` complete candles, in order."""

    def live(self, symbols: frozenset[str]) -> AsyncIterator[Sequence[Candle] | Missed]:
        """The candles of ``symbols`` (none: of all) from now on, each when it is complete and stored, for ever.

        ``Missed`` comes first, once candles that complete from then on will follow, and whenever some were lost.
        """


class Classifier(Protocol):
    """A trained model in memory."""

    def probability_up(self, features: FeatureVector) -> float:
        """The probability that the price is higher at the model's horizon."""


class Artifacts(Protocol):
    """Trained models in their stored form."""

    async def put(self, model_version: str, artifact: bytes) -> None:
        """Store the artifact of a new version."""

    async def get(self, model_version: str, sha256: str) -> bytes:
        """The artifact. Raises ArtifactUnusable when it is gone or is not the one that has that hash."""


class ArtifactUnusable(Exception):
    """A registered model cannot serve; the text is for the log."""


class Trainer(Protocol):
    """Makes models."""

    async def train(self, histories: Mapping[str, Sequence[Bar]], plan: Plan, progress: Progress) -> Trained:
        """Train one model on all histories. Raises NotEnoughHistory, TrainingKilled and TrainingFailed."""


class Registry(Protocol):
    """The models that were registered."""

    async def activate(self, model: Model) -> None:
        """Register ``model``, whose version is new, as the active one; the one before stays registered."""

    async def active(self) -> Model | None:
        """The model that predicts."""

    async def by_version(self, model_version: str) -> Model | None:
        """The model of that version."""

    async def newest(self, limit: int, before: int | None) -> "ModelPage":
        """The newest ``limit`` models, those that were registered before the number ``before`` if it is given."""


@dataclass(frozen=True, slots=True)
class ModelPage:
    """Models, the newest first; ``next_before`` leads to the next page, None on the last."""

    models: Sequence[Model]
    next_before: int | None


class PredictionLog(Protocol):
    """Every prediction made on a live candle, and the signals among them, once."""

    async def record(self, predictions: Sequence[Prediction], signals: Sequence[Signal]) -> None:
        """Store all, or none. What is stored already stays as it is. Stored signals will be published, in order."""

    async def recorded_until(self, model_version: str, symbol: str) -> datetime | None:
        """Close time of the newest candle with a stored prediction of that model."""
