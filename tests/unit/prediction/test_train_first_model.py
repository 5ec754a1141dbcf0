"""What happens around a training."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from services.prediction.adapters.lightgbm_model import LightGbmClassifier
from services.prediction.domain.market import Bar, Candle
from services.prediction.domain.models import Model
from services.prediction.domain.trainings import (
    Plan,
    Progress,
    Trained,
    Training,
    TrainingFailed,
    TrainingKilled,
    TrainingState,
)
from services.prediction.ports import ArtifactUnusable, Backfill, ModelPage
from services.prediction.serving import Serving
from services.prediction.use_cases.train_first_model import LoadActiveModel, TrainFirstModel

SYMBOL = "BTC-USDT@simex"
NOW = datetime(2024, 9, 6, tzinfo=UTC)


class OneCandle:
    """A market that counts ``stored`` candles."""

    def __init__(self, stored: int = 1) -> None:
        self._stored = stored

    async def symbols(self) -> frozenset[str]:
        return frozenset({SYMBOL})

    async def backfills(self) -> list[Backfill]:
        return [Backfill(SYMBOL, NOW, total=self._stored, stored=self._stored, complete=True)]

    async def candles(self, symbol: str, start: datetime) -> AsyncIterator[Sequence[Candle]]:
        yield []

    async def newest(self, symbol: str, count: int) -> Sequence[Candle]:
        return []

    async def live(self, symbols: frozenset[str]) -> AsyncIterator[Sequence[Candle]]:
        yield []


class NoModels:
    """A registry and a store of artifacts without anything."""

    async def activate(self, model: Model) -> None:
        raise AssertionError("there is nothing to activate")

    async def active(self) -> Model | None:
        return None

    async def by_version(self, model_version: str) -> Model | None:
        return None

    async def newest(self, limit: int, before: int | None) -> ModelPage:
        return ModelPage([], None)

    async def put(self, model_version: str, artifact: bytes) -> None:
        raise AssertionError("there is nothing to store")

    async def get(self, model_version: str, sha256: str) -> bytes:
        raise ArtifactUnusable


class BreaksDown:
    """A trainer that gets as far as one half."""

    def __init__(self) -> None:
        self.seen: list[Training] = []
        self.look: Callable[[], Training] | None = None

    async def train(self, histories: Mapping[str, Sequence[Bar]], plan: Plan, progress: Progress) -> Trained:
        progress("fitting tree 7", 0.5)
        if self.look:
            self.seen.append(self.look())
        raise TrainingFailed("Traceback: password=hunter2")


async def test_a_training_that_breaks_down_says_how_far_it_came_and_keeps_the_details_for_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    models, serving, trainer = NoModels(), Serving(), BreaksDown()
    load = LoadActiveModel(models, models, LightGbmClassifier, serving)
    use_case = TrainFirstModel(
        load,
        OneCandle(),
        trainer,
        models,
        models,
        lambda: NOW,
        Plan(),
        symbols=frozenset(),
        span=timedelta(days=1),
        retry_seconds=0,
    )
    trainer.look = lambda: use_case.training
    await use_case()

    (seen,) = trainer.seen
    assert (seen.state, seen.stage) == (TrainingState.RUNNING, "fitting tree 7")
    assert seen.fraction == pytest.approx(0.65)
    assert use_case.training.state is TrainingState.FAILED
    assert use_case.training.stage == "fitting tree 7"
    assert "hunter2" not in use_case.training.failure
    assert "training failed" in caplog.text


async def test_a_history_without_any_candle_is_left_to_the_trainer_to_refuse() -> None:
    models, trainer = NoModels(), BreaksDown()
    use_case = TrainFirstModel(
        LoadActiveModel(models, models, LightGbmClassifier, Serving()),
        OneCandle(stored=0),
        trainer,
        models,
        models,
        lambda: NOW,
        Plan(),
        symbols=frozenset(),
        span=timedelta(days=1),
        retry_seconds=0,
    )
    await use_case()

    assert use_case.training.state is TrainingState.FAILED


class KilledOnce(BreaksDown):
    """A trainer that is killed when it runs for the first time."""

    async def train(self, histories: Mapping[str, Sequence[Bar]], plan: Plan, progress: Progress) -> Trained:
        self.seen.append(Training(TrainingState.RUNNING))
        if len(self.seen) == 1:
            raise TrainingKilled("the training process was ended by signal 9")
        return await super().train(histories, plan, progress)


async def test_a_training_that_was_killed_starts_again() -> None:
    models, trainer = NoModels(), KilledOnce()
    use_case = TrainFirstModel(
        LoadActiveModel(models, models, LightGbmClassifier, Serving()),
        OneCandle(),
        trainer,
        models,
        models,
        lambda: NOW,
        Plan(),
        symbols=frozenset(),
        span=timedelta(days=1),
        retry_seconds=0,
    )
    await use_case()

    assert len(trainer.seen) == 2
