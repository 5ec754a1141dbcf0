"""Every feature, candle by candle."""

import hashlib
import math
from collections.abc import Iterable, Iterator

from services.prediction.domain.market import INTERVAL_MS, Bar
from services.prediction.features.price import Position, Returns
from services.prediction.features.shape import Calendar, Shape
from services.prediction.features.step import BLOCK, PRICE_UNITS, VOLUME_UNITS, WARMUP, Feature, Step, level
from services.prediction.features.trend import Trend
from services.prediction.features.volatility import Volatility
from services.prediction.features.volume import Volume

FeatureVector = tuple[float, ...]
"""Finite values, in the order of ``FEATURES``."""

_GROUPS = (Returns, Position, Volatility, Trend, Volume, Shape, Calendar)
_REVISION = 1  # raised whenever a computation changes while names and meanings stay

FEATURES: tuple[Feature, ...] = tuple(feature for group in _GROUPS for feature in group.features)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
FEATURE_SET_VERSION = hashlib.sha256(repr((_REVISION, INTERVAL_MS, WARMUP, FEATURES)).encode()).hexdigest()[:16]
"""A model serves only with the feature set that it was trained on."""


class InvalidBar(ValueError):
    """A candle that cannot be: prices not positive or out of order, a negative volume, or a time that went back."""


class FeatureEngine:
    """The features of one symbol.

    A candle that does not open where the last one closed makes the engine forget everything before it: nothing is
    computed across a hole.
    """

    def __init__(self) -> None:
        self._last: Bar | None = None
        self._forget()

    @property
    def last(self) -> Bar | None:
        """The newest candle seen."""
        return self._last

    def update(self, bar: Bar) -> FeatureVector | None:
        """The features once ``bar`` is complete, or None until there were ``WARMUP`` consecutive candles.

        Raises InvalidBar, and is left as it was, when ``bar`` is not possible or not newer than the last.
        """
        self._check(bar)
        last, self._last = self._last, bar
        close = level(bar.close)
        if last is None or bar.open_time_ms != last.close_time_ms:
            self._forget()
            self._level = close
            return None
        step = self._step(bar, last, close)
        self._level = close
        self._consecutive += 1
        values: list[float] = []
        for group in self._groups:
            values += group.update(step)
        return tuple(values) if self._consecutive >= WARMUP else None

    def _forget(self) -> None:
        self._groups = tuple(group() for group in _GROUPS)
        self._consecutive = 1
        self._level = 0

    def _check(self, bar: Bar) -> None:
        opened_ms, opened, high, low, close, volume = bar
        if not (0 < low <= min(opened, close) <= max(opened, close) <= high < math.inf and 0 <= volume < math.inf):
            raise InvalidBar(f"not a possible candle: {bar}")
        if opened_ms % INTERVAL_MS or (self._last is not None and opened_ms <= self._last.open_time_ms):
            raise InvalidBar(f"not a later five-minute candle: {bar}")

    def _step(self, bar: Bar, last: Bar, close: int) -> Step:
        return Step(
            bar=bar,
            level=close,
            change=close - self._level,
            true_range=(level(max(bar.high, last.close)) - level(min(bar.low, last.close))) / PRICE_UNITS,
            volume=round(math.log1p(bar.volume) * VOLUME_UNITS),
            begins_block=bar.open_time_ms // INTERVAL_MS % BLOCK == 0,
        )


def over_history(bars: Iterable[Bar]) -> Iterator[tuple[Bar, FeatureVector | None]]:
    """Each candle with the features that were known when it closed."""
    engine = FeatureEngine()
    for bar in bars:
        yield bar, engine.update(bar)
