"""How much is traded, and with which moves of the price."""

from services.prediction.features.rolling import RollingCorrelation, RollingMoments, RollingSum
from services.prediction.features.step import VOLUME_UNITS, Feature, Step

_PRESSURE = 24


class Volume:
    """Volumes enter as log(1 + volume): their distribution is heavy-tailed."""

    features = (
        Feature("volume_score_48", "deviations of the log volume from its mean over 48 candles", 48),
        Feature("volume_score_288", "deviations of the log volume from its mean over 288 candles", 288),
        Feature("volume_surge", "mean log volume of 3 candles above that of 48", 48),
        Feature(
            "volume_pressure_24", "log volume of rising less that of falling candles by that of all 24, -1 to 1", 25
        ),
        Feature("price_volume_48", "correlation of log return and log volume over 48 candles", 49),
        Feature("range_volume_48", "correlation of absolute log return and log volume over 48 candles", 49),
    )

    def __init__(self) -> None:
        self._48, self._288 = RollingMoments(48), RollingMoments(288)
        self._sum_3, self._sum_48 = RollingSum(3), RollingSum(48)
        self._signed, self._total = RollingSum(_PRESSURE), RollingSum(_PRESSURE)
        self._with_return, self._with_size = RollingCorrelation(48), RollingCorrelation(48)

    def update(self, step: Step) -> tuple[float, ...]:
        """The values of ``features`` after ``step``."""
        volume, change = step.volume, step.change
        self._48.push(volume)
        self._288.push(volume)
        signed = self._signed.push(volume if change > 0 else -volume if change < 0 else 0)
        total = self._total.push(volume)
        return (
            self._48.score,
            self._288.score,
            (self._sum_3.push(volume) / 3 - self._sum_48.push(volume) / 48) / VOLUME_UNITS,
            signed / total if total else 0.0,
            self._with_return.push(change, volume),
            self._with_size.push(abs(change), volume),
        )
