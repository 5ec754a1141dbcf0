"""A service without a model makes itself one."""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from services.prediction.domain.market import Bar
from services.prediction.domain.models import Model
from services.prediction.domain.trainings import (
    NotEnoughHistory,
    Plan,
    Trained,
    Training,
    TrainingFailed,
    TrainingKilled,
    TrainingState,
)
from services.prediction.features.engine import FEATURE_SET_VERSION
from services.prediction.ports import Artifacts, ArtifactUnusable, Backfill, Classifier, Market, Registry, Trainer
from services.prediction.serving import Serving, ServingModel
from services.runtime.clock import Clock

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_FETCHING_SHARE = 0.3  # of the time from the complete history to the model


class LoadActiveModel:
    """Serve the registered active model."""

    def __init__(
        self, registry: Registry, artifacts: Artifacts, classifier: Callable[[bytes], Classifier], serving: Serving
    ) -> None:
        self._registry = registry
        self._artifacts = artifacts
        self._classifier = classifier
        self._serving = serving

    async def __call__(self) -> bool:
        """Whether there is one that can serve. One that cannot is left as it is, and the log says why."""
        model = await self._registry.active()
        if model is None:
            return False
        try:
            self._serving.begin(ServingModel(model, await self._load(model)))
        except ArtifactUnusable as error:
            _log.error("model unusable", extra={"model": model.model_version, "problem": str(error)})
            return False
        return True

    async def _load(self, model: Model) -> Classifier:
        if model.card.feature_set_version != FEATURE_SET_VERSION:
            raise ArtifactUnusable("it was trained on another set of features than this version computes")
        return self._classifier(await self._artifacts.get(model.model_version, model.artifact_sha256))


class TrainFirstModel:
    """Wait for the history, train in a process of its own, register, activate, serve."""

    def __init__(
        self,
        load_active_model: LoadActiveModel,
        market: Market,
        trainer: Trainer,
        registry: Registry,
        artifacts: Artifacts,
        now: Clock,
        plan: Plan,
        *,
        symbols: frozenset[str],
        span: timedelta,
        retry_seconds: float,
    ) -> None:
        self._load_active_model = load_active_model
        self._market = market
        self._trainer = trainer
        self._registry = registry
        self._artifacts = artifacts
        self._now = now
        self._plan = plan
        self._symbols = symbols
        self._span = span
        self._retry_seconds = retry_seconds
        self.training = Training(TrainingState.WAITING_FOR_HISTORY, "looking for an active model")
        """How far it is."""

    async def __call__(self) -> None:
        """Return once a model serves, or the training broke down; raises when a part that it needs is away."""
        if await self._load_active_model():
            self.training = Training(TrainingState.NOT_NEEDED)
            return
        while True:
            histories = await self._histories(await self._complete_backfills())
            try:
                trained = await self._trainer.train(histories, self._plan, self._training_progress)
            except NotEnoughHistory as error:
                self.training = Training(TrainingState.WAITING_FOR_HISTORY, f"too little history: {error}")
                await asyncio.sleep(self._retry_seconds)
            except TrainingKilled as error:
                _log.warning("training was killed and starts again", extra={"problem": str(error)})
                await asyncio.sleep(_POLL_SECONDS)
            except TrainingFailed as error:
                _log.error("training failed", extra={"problem": str(error)})
                self.training = replace(
                    self.training, state=TrainingState.FAILED, failure="the training broke down; the log says why"
                )
                return
            else:
                break
        version = await self._register(trained)
        await self._load_active_model()
        self.training = Training(TrainingState.SUCCEEDED, "done", 1.0, model_version=version)

    async def _complete_backfills(self) -> list[Backfill]:
        while True:
            wanted = self._symbols or await self._market.symbols()
            backfills = [backfill for backfill in await self._market.backfills() if backfill.symbol in wanted]
            if wanted and len(backfills) == len(wanted) and all(backfill.complete for backfill in backfills):
                return backfills
            stored, total = (sum(getattr(backfill, name) for backfill in backfills) for name in ("stored", "total"))
            self.training = Training(
                TrainingState.WAITING_FOR_HISTORY, f"waiting for history: {stored} of {total} candles are stored"
            )
            await asyncio.sleep(_POLL_SECONDS)

    async def _histories(self, backfills: list[Backfill]) -> dict[str, list[Bar]]:
        """The candles of all symbols; symbols without any are left out."""
        histories: dict[str, list[Bar]] = {}
        total = max(1, sum(backfill.stored for backfill in backfills))
        fetched = 0
        for backfill in sorted(backfills, key=lambda backfill: backfill.symbol):
            async for page in self._market.candles(backfill.symbol, backfill.end_time - self._span):
                if page:
                    histories.setdefault(backfill.symbol, []).extend(candle.bar() for candle in page)
                fetched += len(page)
                self._progress(f"reading history of {backfill.symbol}", min(1.0, fetched / total) * _FETCHING_SHARE)
        return histories

    async def _register(self, trained: Trained) -> str:
        sha256 = hashlib.sha256(trained.artifact).hexdigest()
        now = self._now()
        version = _version(trained.card.kind, now, sha256)
        await self._artifacts.put(version, trained.artifact)
        await self._registry.activate(Model(version, True, now, sha256, trained.card))
        return version

    def _training_progress(self, stage: str, fraction: float) -> None:
        self._progress(stage, _FETCHING_SHARE + (1 - _FETCHING_SHARE) * fraction)

    def _progress(self, stage: str, fraction: float) -> None:
        self.training = Training(TrainingState.RUNNING, stage, fraction)


def _version(kind: str, now: datetime, sha256: str) -> str:
    return f"{kind}-{now:%Y%m%dt%H%M%Sz}-{sha256[:8]}"
