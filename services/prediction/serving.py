"""The model that predicts, and what it said last."""

import asyncio
from dataclasses import dataclass

from services.prediction.domain.market import Candle
from services.prediction.domain.models import Model
from services.prediction.domain.predictions import Prediction, prediction_id
from services.prediction.errors import FeaturesNotReady, NoActiveModel, SymbolNotFound
from services.prediction.features.engine import FeatureVector
from services.prediction.features.step import WARMUP
from services.prediction.ports import Classifier
from services.runtime.errors import DependencyUnavailable


@dataclass(frozen=True, slots=True)
class ServingModel:
    """A model that is loaded."""

    model: Model
    classifier: Classifier

    def predict(self, candle: Candle, features: FeatureVector) -> Prediction:
        """What the model says about ``candle``, whose features are ``features``."""
        card, version = self.model.card, self.model.model_version
        probability_up = self.classifier.probability_up(features)
        return Prediction(
            prediction_id=prediction_id(version, candle.symbol, candle.close_time),
            symbol=candle.symbol,
            candle_close_time=candle.close_time,
            horizon=card.horizon,
            model_version=version,
            probability_up=probability_up,
            direction=card.thresholds.direction(probability_up),
            close=candle.close,
        )


class Serving:
    """Holds the serving model, the symbols, and the prediction of each symbol's newest candle."""

    def __init__(self) -> None:
        self._model: ServingModel | None = None
        self._begun = asyncio.Event()
        self._symbols: frozenset[str] | None = None
        self._latest: dict[str, Prediction] = {}

    def begin(self, model: ServingModel) -> None:
        """Serve ``model``."""
        self._model = model
        self._begun.set()

    async def model(self) -> ServingModel:
        """The serving model, as soon as there is one."""
        await self._begun.wait()
        return self.current()

    def current(self) -> ServingModel:
        """The serving model. Raises NoActiveModel."""
        if self._model is None:
            raise NoActiveModel
        return self._model

    def list_symbols(self, symbols: frozenset[str]) -> None:
        """Take ``symbols`` as all there are."""
        self._symbols = symbols

    def check_symbol(self, symbol: str) -> None:
        """Raise SymbolNotFound, or DependencyUnavailable while the symbols are not known."""
        if self._symbols is None:
            raise DependencyUnavailable("the symbols are not known yet; try again in a second", part="marketdata")
        if symbol not in self._symbols:
            raise SymbolNotFound(symbol)

    def put(self, prediction: Prediction) -> None:
        """Take ``prediction`` as the newest of its symbol."""
        self._latest[prediction.symbol] = prediction

    def drop(self, symbol: str) -> None:
        """The symbol's newest candle has no prediction."""
        self._latest.pop(symbol, None)

    def latest(self, symbol: str) -> Prediction:
        """The prediction of the symbol's newest candle.

        Raises SymbolNotFound, NoActiveModel, FeaturesNotReady, or DependencyUnavailable at the very start.
        """
        self.check_symbol(symbol)
        self.current()
        if symbol not in self._latest:
            raise FeaturesNotReady(symbol, WARMUP)
        return self._latest[symbol]
