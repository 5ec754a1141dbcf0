"""Every complete candle becomes features, a prediction, and perhaps a signal."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.prediction.domain.market import INTERVAL, Candle, from_ms, to_ms
from services.prediction.domain.predictions import Direction, Prediction, Signal
from services.prediction.features.engine import FeatureEngine, InvalidBar
from services.prediction.features.step import WARMUP
from services.prediction.ports import Market, Missed, PredictionLog
from services.prediction.serving import Serving, ServingModel
from services.runtime.clock import Clock

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Track:
    """How far one symbol has been followed."""

    symbol: str
    recorded_until: datetime | None
    """Close time of the newest candle whose prediction is stored."""
    engine: FeatureEngine = field(default_factory=FeatureEngine)
    warm: bool = False
    """Whether the newest candle had features."""

    def is_new(self, candle: Candle) -> bool:
        """Whether ``candle`` opens after the newest one seen."""
        last = self.engine.last
        return last is None or to_ms(candle.open_time) > last.open_time_ms

    def follows(self, candle: Candle) -> bool:
        """Whether ``candle`` opens where the newest one seen closed."""
        last = self.engine.last
        return last is not None and to_ms(candle.open_time) == last.close_time_ms


class FollowCandles:
    """Predicts on every candle of the market, from behind the last one that it predicted on.

    What the stream did not show is fetched: at the start, after a loss, and whenever a candle does not follow on the
    one before it. While a symbol has too few consecutive candles its whole warm-up is fetched again with each new
    candle, so that a hole that marketdata has filled meanwhile heals at once.
    """

    def __init__(
        self, market: Market, serving: Serving, predictions: PredictionLog, now: Clock, symbols: frozenset[str]
    ) -> None:
        self._market = market
        self._serving = serving
        self._predictions = predictions
        self._now = now
        self._symbols = symbols

    async def __call__(self) -> None:
        """Follow for ever once there is a model; raises what the market and the log raise, and then begins anew."""
        model = await self._serving.model()
        tracks: dict[str, _Track] = {}
        async for news in self._market.live(self._symbols):
            if isinstance(news, Missed):
                for symbol in sorted(self._symbols or await self._market.symbols()):
                    await self._catch_up(model, await self._track(model, tracks, symbol))
            else:
                for candle in news:
                    await self._see(model, await self._track(model, tracks, candle.symbol), candle)

    async def _track(self, model: ServingModel, tracks: dict[str, _Track], symbol: str) -> _Track:
        if symbol not in tracks:
            until = await self._predictions.recorded_until(model.model.model_version, symbol)
            tracks[symbol] = _Track(symbol, until)
        return tracks[symbol]

    async def _see(self, model: ServingModel, track: _Track, candle: Candle) -> None:
        if track.warm and track.follows(candle):
            await self._take(model, track, [candle])
        elif track.is_new(candle):
            await self._catch_up(model, track)

    async def _catch_up(self, model: ServingModel, track: _Track) -> None:
        """Take in what marketdata has after the newest candle seen, or from where the features can warm up."""
        last = track.engine.last
        if track.warm and last is not None:
            start = from_ms(last.close_time_ms)
        elif track.recorded_until is not None:
            track.engine = FeatureEngine()
            start = track.recorded_until - WARMUP * INTERVAL
        else:
            track.engine = FeatureEngine()
            await self._take(model, track, await self._market.newest(track.symbol, WARMUP))
            return
        async for page in self._market.candles(track.symbol, start):
            await self._take(model, track, page)

    async def _take(self, model: ServingModel, track: _Track, candles: Sequence[Candle]) -> None:
        """Predict on candles in order, store what is new, and only then let the newest be known."""
        if not candles:
            return
        predictions = [self._advance(model, track, candle) for candle in candles]
        until = track.recorded_until
        new = [said for said in predictions if said and (until is None or said.candle_close_time > until)]
        if new:
            await self._predictions.record(new, self._signals(model, new))
            track.recorded_until = new[-1].candle_close_time
        newest = predictions[-1]
        track.warm = newest is not None
        if newest is not None:
            self._serving.put(newest)
        else:
            self._serving.drop(track.symbol)

    def _advance(self, model: ServingModel, track: _Track, candle: Candle) -> Prediction | None:
        try:
            features = track.engine.update(candle.bar())
        except InvalidBar as error:
            _log.error("candle refused", extra={"symbol": candle.symbol, "problem": str(error)})
            return None
        return None if features is None else model.predict(candle, features)

    def _signals(self, model: ServingModel, predictions: Iterable[Prediction]) -> list[Signal]:
        thresholds = model.model.card.thresholds
        crossed = {Direction.UP: thresholds.upper, Direction.DOWN: thresholds.lower}
        now = self._now()
        return [
            Signal(prediction, crossed[prediction.direction], now)
            for prediction in predictions
            if prediction.direction in crossed
        ]
