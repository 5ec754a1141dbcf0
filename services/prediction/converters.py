"""Between the contract's messages and the domain."""

from datetime import timedelta

from google.protobuf import duration_pb2

from levimesh.marketdata.v1 import candle_pb2
from levimesh.prediction.v1 import model_pb2, prediction_pb2
from services.prediction.domain.market import Candle
from services.prediction.domain.models import DataSpan, Metrics, Model, ModelCard, Window
from services.prediction.domain.predictions import Direction, Prediction, Signal
from services.prediction.domain.trainings import Training, TrainingState
from services.prediction.ports import Backfill
from services.runtime import decimals, timestamps

_DIRECTIONS = {
    Direction.UP: prediction_pb2.DIRECTION_UP,
    Direction.DOWN: prediction_pb2.DIRECTION_DOWN,
    Direction.NEUTRAL: prediction_pb2.DIRECTION_NEUTRAL,
}
_TRAINING_STATES = {
    TrainingState.NOT_NEEDED: model_pb2.TRAINING_STATE_UNSPECIFIED,
    TrainingState.WAITING_FOR_HISTORY: model_pb2.TRAINING_STATE_WAITING_FOR_HISTORY,
    TrainingState.RUNNING: model_pb2.TRAINING_STATE_RUNNING,
    TrainingState.SUCCEEDED: model_pb2.TRAINING_STATE_SUCCEEDED,
    TrainingState.FAILED: model_pb2.TRAINING_STATE_FAILED,
}


def candle_from_pb(message: candle_pb2.Candle) -> Candle:
    """A candle of marketdata, which must be a five-minute one."""
    return Candle(
        symbol=message.symbol,
        open_time=timestamps.from_pb(message.open_time),
        open=decimals.from_pb(message.open),
        high=decimals.from_pb(message.high),
        low=decimals.from_pb(message.low),
        close=decimals.from_pb(message.close),
        volume=decimals.from_pb(message.volume),
    )


def backfill_from_pb(message: candle_pb2.Backfill) -> Backfill:
    """The state of a symbol's history."""
    return Backfill(
        symbol=message.symbol,
        end_time=timestamps.from_pb(message.end_time),
        total=message.total_candles,
        stored=message.stored_candles,
        complete=message.complete,
    )


def prediction_to_pb(prediction: Prediction) -> prediction_pb2.Prediction:
    """A prediction on the wire."""
    return prediction_pb2.Prediction(
        prediction_id=str(prediction.prediction_id),
        symbol=prediction.symbol,
        candle_close_time=timestamps.to_pb(prediction.candle_close_time),
        horizon=_duration(prediction.horizon),
        model_version=prediction.model_version,
        probability_up=prediction.probability_up,
        direction=_DIRECTIONS[prediction.direction],
        close=decimals.to_pb(prediction.close),
    )


def signal_to_pb(signal: Signal) -> prediction_pb2.Signal:
    """A signal on the wire and in the journal."""
    return prediction_pb2.Signal(
        prediction=prediction_to_pb(signal.prediction),
        threshold=signal.threshold,
        create_time=timestamps.to_pb(signal.create_time),
    )


def training_to_pb(training: Training) -> model_pb2.Training:
    """A training on the wire."""
    return model_pb2.Training(
        state=_TRAINING_STATES[training.state],
        stage=training.stage,
        fraction=training.fraction,
        model_version=training.model_version,
        failure=training.failure,
    )


def model_to_pb(model: Model) -> model_pb2.Model:
    """A model on the wire."""
    return model_pb2.Model(
        model_version=model.model_version,
        state=model_pb2.MODEL_STATE_ACTIVE if model.active else model_pb2.MODEL_STATE_REGISTERED,
        create_time=timestamps.to_pb(model.create_time),
        artifact_sha256=model.artifact_sha256,
        card=_card(model.card),
    )


def _card(card: ModelCard) -> model_pb2.ModelCard:
    return model_pb2.ModelCard(
        kind=card.kind,
        interval=_duration(card.interval),
        horizon=_duration(card.horizon),
        feature_set_version=card.feature_set_version,
        train=_window(card.train),
        validation=_window(card.validation),
        test=_window(card.test),
        metrics=_metrics(card.metrics),
        baselines=[model_pb2.Baseline(name=base.name, accuracy=base.accuracy) for base in card.baselines],
        upper_threshold=card.thresholds.upper,
        lower_threshold=card.thresholds.lower,
        features=[model_pb2.FeatureImportance(name=one.name, gain_share=one.gain_share) for one in card.features],
        data=[_data_span(span) for span in card.data],
        parameters=card.parameters,
        library_versions=card.library_versions,
        training_duration=_duration(card.training_duration),
    )


def _metrics(metrics: Metrics) -> model_pb2.Metrics:
    return model_pb2.Metrics(
        auc=metrics.auc,
        log_loss=metrics.log_loss,
        brier=metrics.brier,
        accuracy=metrics.accuracy,
        ece=metrics.ece,
        hit_rate=metrics.hit_rate,
        signal_rate=metrics.signal_rate,
        share_up=metrics.share_up,
    )


def _window(window: Window) -> model_pb2.Window:
    return model_pb2.Window(
        start_time=timestamps.to_pb(window.start_time), end_time=timestamps.to_pb(window.end_time), rows=window.rows
    )


def _data_span(span: DataSpan) -> model_pb2.DataSpan:
    return model_pb2.DataSpan(
        symbol=span.symbol,
        start_time=timestamps.to_pb(span.start_time),
        end_time=timestamps.to_pb(span.end_time),
        candles=span.candles,
        content_sha256=span.content_sha256,
    )


def _duration(span: timedelta) -> duration_pb2.Duration:
    message = duration_pb2.Duration()
    message.FromTimedelta(span)
    return message
