"""Where the price came from and where it stands among the prices before it."""

from services.prediction.features.rolling import RollingMaximum, RollingMoments, RollingSum
from services.prediction.features.step import PRICE_UNITS, Feature, Step

_HORIZONS = (1, 3, 6, 12, 36, 144)
_EFFICIENCY = 36
_RISES = 12


class Returns:
    """Log returns, and how steadily the price moved."""

    features = (
        *(Feature(f"return_{h}", f"log return over {h} candles", h + 1) for h in _HORIZONS),
        Feature(
            "efficiency_36", "log return over 36 candles by the sum of its absolute steps, -1 to 1", _EFFICIENCY + 1
        ),
        Feature("rising_share_12", "share of the last 12 closes above the one before", _RISES + 1),
    )

    def __init__(self) -> None:
        self._sums = tuple(RollingSum(horizon) for horizon in _HORIZONS)
        self._net = RollingSum(_EFFICIENCY)
        self._path = RollingSum(_EFFICIENCY)
        self._rises = RollingSum(_RISES)

    def update(self, step: Step) -> tuple[float, ...]:
        """The values of ``features`` after ``step``."""
        net, path = self._net.push(step.change), self._path.push(abs(step.change))
        return (
            *(total.push(step.change) / PRICE_UNITS for total in self._sums),
            net / path if path else 0.0,
            self._rises.push(step.change > 0) / _RISES,
        )


class Position:
    """The close among the closes, highs and lows before it."""

    features = (
        Feature("bollinger_20", "deviations of the log close from its mean over 20 candles", 20),
        Feature("bollinger_width_20", "standard deviation of the log close over 20 candles", 20),
        Feature("score_96", "deviations of the log close from its mean over 96 candles", 96),
        Feature("score_288", "deviations of the log close from its mean over 288 candles", 288),
        Feature("channel_20", "place of the close between lowest low (0) and highest high (1) of 20 candles", 20),
        Feature("channel_96", "place of the close between lowest low (0) and highest high (1) of 96 candles", 96),
    )

    def __init__(self) -> None:
        self._20, self._96, self._288 = RollingMoments(20), RollingMoments(96), RollingMoments(288)
        self._channel_20, self._channel_96 = _Channel(20), _Channel(96)

    def update(self, step: Step) -> tuple[float, ...]:
        """The values of ``features`` after ``step``."""
        for moments in (self._20, self._96, self._288):
            moments.push(step.level)
        return (
            self._20.score,
            self._20.deviation / PRICE_UNITS,
            self._96.score,
            self._288.score,
            self._channel_20.push(step),
            self._channel_96.push(step),
        )


class _Channel:
    """Highest high and lowest low (Donchian's channel)."""

    def __init__(self, window: int) -> None:
        self._highest = RollingMaximum(window)
        self._negated_lowest = RollingMaximum(window)

    def push(self, step: Step) -> float:
        """Where the close lies, 0 to 1; one half when the channel has no width."""
        highest = self._highest.push(step.bar.high)
        lowest = -self._negated_lowest.push(-step.bar.low)
        return (step.bar.close - lowest) / (highest - lowest) if highest > lowest else 0.5
