"""What a classifier's probabilities are worth."""

import numpy as np
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from services.prediction.domain.models import Metrics
from services.prediction.domain.predictions import Thresholds
from services.prediction.learning.dataset import Flags, Floats

_CALIBRATION_BINS = 10


def measure(probability_up: Floats, up: Flags, thresholds: Thresholds) -> Metrics:
    """The measures of one window. Both outcomes must occur in ``up``."""
    rises, falls = probability_up >= thresholds.upper, probability_up <= thresholds.lower
    signals = int(np.count_nonzero(rises | falls))
    hits = int(np.count_nonzero(rises & up) + np.count_nonzero(falls & ~up))
    return Metrics(
        auc=float(roc_auc_score(up, probability_up)),
        log_loss=float(log_loss(up, probability_up, labels=[False, True])),
        brier=float(brier_score_loss(up, probability_up)),
        accuracy=share_of(up, probability_up >= 0.5),
        ece=expected_calibration_error(probability_up, up),
        hit_rate=hits / signals if signals else 0.0,
        signal_rate=signals / len(up),
        share_up=float(np.mean(up)),
    )


def share_of(up: Flags, predicted_up: Flags) -> float:
    """The share of right directions."""
    return float(np.mean(up == predicted_up))


def expected_calibration_error(probability_up: Floats, up: Flags) -> float:
    """Mean distance of predicted probability and observed share over ten bins of equal width, by rows in the bin."""
    bins = np.minimum((probability_up * _CALIBRATION_BINS).astype(np.int64), _CALIBRATION_BINS - 1)
    surplus = np.bincount(bins, weights=probability_up - up, minlength=_CALIBRATION_BINS)
    return float(np.abs(surplus).sum() / len(up))


def choose_thresholds(probability_up: Floats, signal_share: float) -> Thresholds:
    """The quantiles beyond which ``signal_share`` of the probabilities lie at either end.

    An upper threshold is never below one half, a lower one never above it. When the probabilities hardly differ, the
    thresholds are such that no probability short of certainty crosses them.
    """
    lower, upper = (float(q) for q in np.quantile(probability_up, (signal_share, 1 - signal_share)))
    if lower >= upper:
        return Thresholds(0.0, 1.0)
    return Thresholds(min(lower, 0.5), max(upper, 0.5))
