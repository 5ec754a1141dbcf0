"""Fit a LightGBM classifier to the histories of symbols, and measure it on a window of time that it never saw."""

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta

import lightgbm
import numpy as np
import sklearn

from services.prediction.domain.market import INTERVAL, Bar
from services.prediction.domain.models import Baseline, FeatureImportance, ModelCard
from services.prediction.domain.trainings import NotEnoughHistory, Plan, Progress, Trained
from services.prediction.features.engine import FEATURE_NAMES, FEATURE_SET_VERSION
from services.prediction.learning import dataset
from services.prediction.learning.dataset import Dataset, Floats, Split
from services.prediction.learning.metrics import choose_thresholds, measure, share_of

_FEATURES_SHARE, _FITTING_SHARE = 0.4, 0.5  # of the time that a training takes


def train(histories: Mapping[str, Sequence[Bar]], plan: Plan, progress: Progress) -> Trained:
    """Train one model on all ``histories`` (each in order of time). Raises NotEnoughHistory.

    The same histories and plan give the same model.
    """
    started = time.monotonic()
    split = _prepare(histories, plan, progress)
    booster = _fit(split, plan, progress)
    progress("measuring", _FEATURES_SHARE + _FITTING_SHARE)
    thresholds = choose_thresholds(_probabilities(booster, split.validation), plan.signal_share)
    card = ModelCard(
        kind="lightgbm",
        interval=INTERVAL,
        horizon=plan.horizon * INTERVAL,
        feature_set_version=FEATURE_SET_VERSION,
        train=split.train.window(),
        validation=split.validation.window(),
        test=split.test.window(),
        metrics=measure(_probabilities(booster, split.test), split.test.up, thresholds),
        baselines=_baselines(split.test, plan.horizon),
        thresholds=thresholds,
        features=_importances(booster),
        data=tuple(dataset.describe(symbol, bars) for symbol, bars in histories.items()),
        parameters={name: str(value) for name, value in asdict(plan).items()} | {"trees": str(booster.num_trees())},
        library_versions={
            "lightgbm": lightgbm.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "scikit-learn": sklearn.__version__,
        },
        training_duration=timedelta(seconds=round(time.monotonic() - started, 3)),
    )
    progress("done", 1.0)
    return Trained(booster.model_to_string().encode(), card)


def _prepare(histories: Mapping[str, Sequence[Bar]], plan: Plan, progress: Progress) -> Split:
    progress("computing features", 0.0)
    parts = []
    for number, (symbol, bars) in enumerate(histories.items(), start=1):
        parts.append(dataset.rows_of(bars, plan.horizon))
        progress(f"features of {symbol}", _FEATURES_SHARE * number / len(histories))
    if not any(len(part) for part in parts):
        raise NotEnoughHistory("no symbol has enough consecutive candles for a single row")
    split = dataset.split(dataset.merge(parts), plan.horizon, plan.validation_share, plan.test_share)
    for name, window in (("train", split.train), ("validation", split.validation), ("test", split.test)):
        if len(window) < plan.min_rows:
            raise NotEnoughHistory(f"the {name} window has {len(window)} rows, and {plan.min_rows} are needed")
        if window.up.all() or not window.up.any():
            raise NotEnoughHistory(f"the price moved one way only in the {name} window")
    return split


def _fit(split: Split, plan: Plan, progress: Progress) -> lightgbm.Booster:
    parameters = {
        "objective": "binary",
        "metric": "binary_logloss",
        "learning_rate": plan.learning_rate,
        "num_leaves": plan.num_leaves,
        "min_data_in_leaf": plan.min_data_in_leaf,
        "feature_fraction": plan.feature_fraction,
        "bagging_fraction": plan.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l2": plan.lambda_l2,
        "seed": plan.seed,
        "num_threads": plan.threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }

    def report(environment: lightgbm.callback.CallbackEnv) -> None:
        tree = environment.iteration + 1
        progress(f"fitting tree {tree}", _FEATURES_SHARE + _FITTING_SHARE * tree / plan.rounds)

    train_set = _lightgbm_set(split.train)
    booster = lightgbm.train(
        parameters,
        train_set,
        num_boost_round=plan.rounds,
        valid_sets=[_lightgbm_set(split.validation, train_set)],
        callbacks=[lightgbm.early_stopping(plan.patience, verbose=False), report],
    )
    return lightgbm.Booster(model_str=booster.model_to_string(num_iteration=booster.best_iteration))


def _lightgbm_set(rows: Dataset, reference: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
    return lightgbm.Dataset(
        rows.features, label=rows.up.astype(np.float32), feature_name=list(FEATURE_NAMES), reference=reference
    )


def _probabilities(booster: lightgbm.Booster, rows: Dataset) -> Floats:
    return np.asarray(booster.predict(rows.features), dtype=np.float64)


def _baselines(test: Dataset, horizon: int) -> tuple[Baseline, ...]:
    return (
        Baseline("always up", float(np.mean(test.up))),
        Baseline(f"same direction as the last {horizon} candles", share_of(test.up, test.was_up)),
    )


def _importances(booster: lightgbm.Booster) -> tuple[FeatureImportance, ...]:
    gains = booster.feature_importance("gain")
    total = float(gains.sum()) or 1.0
    shares = [FeatureImportance(name, float(gain) / total) for name, gain in zip(FEATURE_NAMES, gains, strict=True)]
    return tuple(sorted(shares, key=lambda share: share.gain_share, reverse=True))
