"""Models, and what was measured of them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.prediction.domain.predictions import Thresholds


@dataclass(frozen=True, slots=True)
class Window:
    """The rows of a data set whose candles close from ``start_time`` to ``end_time``, both included."""

    start_time: datetime
    end_time: datetime
    rows: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """Measures of a binary classifier of "up"; the contract's ``Metrics`` defines each."""

    auc: float
    log_loss: float
    brier: float
    accuracy: float
    ece: float
    hit_rate: float
    signal_rate: float
    share_up: float


@dataclass(frozen=True, slots=True)
class Baseline:
    """A simple predictor and its share of right directions."""

    name: str
    accuracy: float


@dataclass(frozen=True, slots=True)
class FeatureImportance:
    """A feature's share of the total gain, 0 to 1."""

    name: str
    gain_share: float


@dataclass(frozen=True, slots=True)
class DataSpan:
    """The history of a symbol that a model was trained on, by the open times of its candles."""

    symbol: str
    start_time: datetime
    end_time: datetime
    candles: int
    content_sha256: str


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The measured description of a model. Nothing in it was chosen by looking at the test window."""

    kind: str
    interval: timedelta
    horizon: timedelta
    feature_set_version: str
    train: Window
    validation: Window
    test: Window
    metrics: Metrics
    baselines: tuple[Baseline, ...]
    thresholds: Thresholds
    features: tuple[FeatureImportance, ...]
    data: tuple[DataSpan, ...]
    parameters: dict[str, str]
    library_versions: dict[str, str]
    training_duration: timedelta


@dataclass(frozen=True, slots=True)
class Model:
    """A registered version of a trained model. ``artifact_sha256`` is checked whenever the artifact is loaded."""

    model_version: str
    active: bool
    create_time: datetime
    artifact_sha256: str
    card: ModelCard
