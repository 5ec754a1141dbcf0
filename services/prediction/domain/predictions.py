"""Predictions, and the signals that some of them are."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum

from services.prediction.domain.market import to_ms

_PREDICTIONS = uuid.UUID("6f1d3a52-7f0c-5b57-9f0b-4f2a1f5f6c11")


class Direction(Enum):
    """Where a price is expected to go."""

    UP = "up"
    DOWN = "down"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where a probability of "up" becomes a signal: ``0 <= lower < upper <= 1``."""

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not 0 <= self.lower < self.upper <= 1:
            raise ValueError(f"thresholds must be 0 <= lower < upper <= 1, not {self.lower} and {self.upper}")

    def direction(self, probability_up: float) -> Direction:
        """UP at or above the upper threshold, DOWN at or below the lower one."""
        if probability_up >= self.upper:
            return Direction.UP
        if probability_up <= self.lower:
            return Direction.DOWN
        return Direction.NEUTRAL


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one model version says about one candle of a symbol."""

    prediction_id: uuid.UUID
    symbol: str
    candle_close_time: datetime
    horizon: timedelta
    model_version: str
    probability_up: float
    direction: Direction
    close: Decimal


@dataclass(frozen=True, slots=True)
class Signal:
    """A prediction that crossed ``threshold``; ``create_time`` is when it was recorded."""

    prediction: Prediction
    threshold: float
    create_time: datetime


def prediction_id(model_version: str, symbol: str, candle_close_time: datetime) -> uuid.UUID:
    """The same model, symbol and candle always give the same id."""
    return uuid.uuid5(_PREDICTIONS, f"{model_version}/{symbol}/{to_ms(candle_close_time)}")
