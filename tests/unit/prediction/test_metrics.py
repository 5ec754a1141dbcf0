"""What the measures say about predictions whose worth is known."""

import math

import numpy as np
import pytest

from services.prediction.domain.predictions import Thresholds
from services.prediction.learning.metrics import choose_thresholds, expected_calibration_error, measure

UP = np.array([True, True, False, False])


def test_a_perfect_classifier_and_a_coin_are_measured_as_what_they_are() -> None:
    perfect = measure(np.array([0.9, 0.8, 0.2, 0.1]), UP, Thresholds(0.15, 0.85))
    coin = measure(np.full(4, 0.5), UP, Thresholds(0.15, 0.85))

    assert (perfect.auc, perfect.accuracy, perfect.hit_rate, perfect.signal_rate) == (1.0, 1.0, 1.0, 0.5)
    assert perfect.brier == pytest.approx((0.01 + 0.04 + 0.04 + 0.01) / 4)
    assert (coin.auc, coin.accuracy, coin.signal_rate, coin.hit_rate, coin.share_up) == (0.5, 0.5, 0.0, 0.0, 0.5)
    assert coin.log_loss == pytest.approx(math.log(2))
    assert coin.brier == pytest.approx(0.25)


def test_signals_in_both_directions_are_counted_as_hits_or_misses() -> None:
    measured = measure(np.array([0.9, 0.1, 0.9, 0.1]), UP, Thresholds(0.2, 0.8))

    assert (measured.signal_rate, measured.hit_rate) == (1.0, 0.5)


def test_calibration_compares_probability_and_frequency_bin_by_bin() -> None:
    probability = np.array([0.05, 0.05, 1.0, 1.0])

    assert expected_calibration_error(probability, np.array([True, False, True, True])) == pytest.approx(0.45 / 2)


def test_thresholds_are_the_quantiles_on_their_own_side_of_one_half() -> None:
    wide = choose_thresholds(np.linspace(0, 1, 101), 0.1)
    low = choose_thresholds(np.linspace(0.2, 0.4, 101), 0.1)

    assert (wide.lower, wide.upper) == pytest.approx((0.1, 0.9))
    assert (low.lower, low.upper) == pytest.approx((0.22, 0.5))


def test_probabilities_that_do_not_differ_give_no_signals() -> None:
    thresholds = choose_thresholds(np.full(100, 0.48), 0.1)

    assert (thresholds.lower, thresholds.upper) == (0.0, 1.0)
