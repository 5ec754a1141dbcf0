"""How much the price moves."""

import math

from services.prediction.features.rolling import RollingCorrelation, RollingSum
from services.prediction.features.step import PRICE_UNITS, Feature, Step

_WINDOWS = (12, 48, 288)
_FLOOR = 1e-9  # far below any real volatility; keeps the ratio finite when there is none


class Volatility:
    """Realised volatilities (root of the mean squared log return of a candle) and what follows from them."""

    features = (
        *(Feature(f"volatility_{w}", f"root mean square of the log returns of {w} candles", w + 1) for w in _WINDOWS),
        Feature("volatility_ratio", "log of the volatility over 12 candles by that over 288", 289),
        Feature("shock", "last log return by the volatility over 48 candles", 49),
        Feature("autocorrelation_48", "correlation of a log return with the one before, over 48 pairs", 50),
    )

    def __init__(self) -> None:
        self._squares = tuple(RollingSum(window) for window in _WINDOWS)
        self._autocorrelation = RollingCorrelation(48)
        self._previous = 0

    def update(self, step: Step) -> tuple[float, ...]:
        """The values of ``features`` after ``step``."""
        square = step.change * step.change
        short, middle, long = (
            math.sqrt(total.push(square) / window) / PRICE_UNITS
            for total, window in zip(self._squares, _WINDOWS, strict=True)
        )
        autocorrelation = self._autocorrelation.push(step.change, self._previous)
        self._previous = step.change
        return (
            short,
            middle,
            long,
            math.log((short + _FLOOR) / (long + _FLOOR)),
            step.change / PRICE_UNITS / middle if middle else 0.0,
            autocorrelation,
        )
