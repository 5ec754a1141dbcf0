"""The shape of the newest candle, and when it closed."""

import math

from services.prediction.features.step import Feature, Step

_DAY_MS = 86_400_000
_WEEK_MS = 7 * _DAY_MS
_MONDAY_MS = 4 * _DAY_MS


class Shape:
    """Body and shadows as shares of the candle's range; all 0 when it has none."""

    features = (
        Feature("body", "close less open by the range, -1 to 1", 1),
        Feature("upper_shadow", "what lies above the body by the range, 0 to 1", 1),
        Feature("lower_shadow", "what lies below the body by the range, 0 to 1", 1),
        Feature("true_range", "log of the higher of high and last close by the lower of low and last close", 2),
    )

    def update(self, step: Step) -> tuple[float, ...]:
        """The values of ``features`` after ``step``."""
        _, opened, high, low, close, _ = step.bar
        span = high - low
        if span == 0:
            return (0.0, 0.0, 0.0, step.true_range)
        return (
            (close - opened) / span,
            (high - max(opened, close)) / span,
            (min(opened, close) - low) / span,
            step.true_range,
        )


class Calendar:
    """The time of the close on the circles of the day and of the week (which begins on Monday), in UTC."""

    features = (
        Feature("day_sin", "sine of the time of day", 1),
        Feature("day_cos", "cosine of the time of day", 1),
        Feature("week_sin", "sine of the time of the week", 1),
        Feature("week_cos", "cosine of the time of the week", 1),
    )

    def update(self, step: Step) -> tuple[float, ...]:
        """The values of ``features`` after ``step``."""
        closed_ms = step.bar.close_time_ms
        day = 2 * math.pi * (closed_ms % _DAY_MS) / _DAY_MS
        week = 2 * math.pi * ((closed_ms - _MONDAY_MS) % _WEEK_MS) / _WEEK_MS
        return (math.sin(day), math.cos(day), math.sin(week), math.cos(week))
