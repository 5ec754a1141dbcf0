"""Trainings of models: what is asked for, how far they are, what comes out."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from services.prediction.domain.models import ModelCard

Progress = Callable[[str, float], None]
"""Told what is being done, in words, and the share of the whole that is done, 0 to 1."""


class TrainingFailed(Exception):
    """The training broke down; the text is for the log."""


class TrainingKilled(Exception):
    """The training was ended from outside, as by ``kill -9`` or for want of memory: it may well succeed next time."""


class NotEnoughHistory(Exception):
    """The histories are too short, or the price moved one way only."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is chosen before a training. None of it was chosen by looking at a test window."""

    horizon: int = 3
    """How many candles ahead the model looks."""
    validation_share: float = 0.15
    """Share of the time, after the train window, that stops the fitting and chooses the thresholds."""
    test_share: float = 0.15
    """Share of the time, at the end, that the model is measured on."""
    signal_share: float = 0.1
    """Share of the validation window's predictions beyond each threshold."""
    min_rows: int = 500
    """Rows that each window must have."""
    rounds: int = 600
    """Most trees."""
    patience: int = 60
    """Trees without a better log loss on the validation window after which fitting stops."""
    learning_rate: float = 0.03
    num_leaves: int = 31
    min_data_in_leaf: int = 200
    feature_fraction: float = 0.7
    bagging_fraction: float = 0.7
    lambda_l2: float = 5.0
    seed: int = 7
    threads: int = 1
    """Processor threads of the fitting."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A model in LightGBM's text format, and its card."""

    artifact: bytes
    card: ModelCard


class TrainingState(Enum):
    """How far the training of the first model is."""

    NOT_NEEDED = "not needed"
    WAITING_FOR_HISTORY = "waiting for history"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Training:
    """A training in words and as a share of the whole."""

    state: TrainingState
    stage: str = ""
    fraction: float = 0.0
    model_version: str = ""
    failure: str = ""
