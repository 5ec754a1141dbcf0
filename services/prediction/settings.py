"""The settings of the prediction service, read from ``PREDICTION_…`` variables."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.settings import ServiceSettings


class PredictionSettings(ServiceSettings):
    """What can be set from outside."""

    model_config = SettingsConfigDict(env_prefix="PREDICTION_")

    port: int = Field(default=15053, ge=0, le=65535)
    """Port for gRPC; 0 takes a free one."""
    marketdata_target: str = "127.0.0.1:15052"
    """Where the marketdata service listens."""
    model_store_url: str
    """Where trained models are kept, for example ``file:///var/lib/levimesh/models`` or ``s3://bucket/models``."""
    symbols: frozenset[str] = frozenset()
    """Symbols to train on and to predict, as a JSON list of ids; all that marketdata lists when it is empty."""

    training_horizon: int = Field(default=3, ge=1, le=288)
    """How many five-minute candles ahead a new model looks."""
    training_days: int = Field(default=365, ge=1)
    """How many days of history, at most, a new model learns from."""
    training_signal_share: float = Field(default=0.1, gt=0, lt=0.5)
    """The share of a new model's predictions beyond each of its thresholds, on its validation window."""
    training_min_rows: int = Field(default=500, ge=1)
    """Rows that each of the train, validation and test windows must have."""
    training_threads: int = Field(default=1, ge=1)
    """Processor threads of a training."""
    training_retry_seconds: float = Field(default=60, gt=0)
    """How long to wait for more history when there was too little."""
