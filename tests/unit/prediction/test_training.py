"""A true signal is learnt, noise is not, and the card says so."""

import random

import numpy as np
import pytest

from services.prediction.adapters.lightgbm_model import LightGbmClassifier
from services.prediction.domain.market import Bar
from services.prediction.domain.trainings import NotEnoughHistory, Plan, Trained
from services.prediction.features.engine import FEATURE_NAMES, FEATURE_SET_VERSION, over_history
from services.prediction.learning.training import train
from services.prediction.ports import ArtifactUnusable
from tests.candles import a_walk, bars_of

PLAN = Plan(rounds=60, patience=20, learning_rate=0.1, min_rows=300)


def quiet(stage: str, fraction: float) -> None:
    """Nobody listens."""


def a_predictable_market(count: int, seed: int) -> list[Bar]:
    """A price that returns to its level: what fell rises."""
    noise = np.random.default_rng(seed).normal(0, 0.01, count)
    level = 0.0
    closes = []
    for shock in noise.tolist():
        level = 0.7 * level + shock
        closes.append(100 * float(np.exp(level)))
    return bars_of(closes)


@pytest.fixture(scope="module")
def learnt() -> Trained:
    return train({"A": a_predictable_market(4000, 1), "B": a_predictable_market(4000, 2)}, PLAN, quiet)


def test_a_true_signal_is_learnt(learnt: Trained) -> None:
    metrics = learnt.card.metrics

    assert metrics.auc > 0.75
    assert metrics.hit_rate > 0.75
    assert metrics.log_loss < 0.6
    assert metrics.ece < 0.1
    assert metrics.accuracy > max(baseline.accuracy for baseline in learnt.card.baselines) + 0.1


def test_in_a_random_walk_nothing_is_found() -> None:
    card = train({"A": a_walk(4000, seed=5), "B": a_walk(4000, seed=6)}, PLAN, quiet).card

    assert card.metrics.auc == pytest.approx(0.5, abs=0.06)


def test_the_card_says_what_was_done(learnt: Trained) -> None:
    card = learnt.card

    assert card.feature_set_version == FEATURE_SET_VERSION
    assert card.train.end_time < card.validation.start_time < card.validation.end_time < card.test.start_time
    assert card.parameters["seed"] == "7"
    assert {span.symbol for span in card.data} == {"A", "B"}
    assert sum(feature.gain_share for feature in card.features) == pytest.approx(1)
    assert [f.gain_share for f in card.features] == sorted((f.gain_share for f in card.features), reverse=True)
    assert {feature.name for feature in card.features} == set(FEATURE_NAMES)
    assert [baseline.name for baseline in card.baselines] == ["always up", "same direction as the last 3 candles"]


def test_the_same_history_gives_the_same_model_and_the_stored_one_predicts_alike() -> None:
    histories = {"A": a_predictable_market(3000, 1)}
    one, other = train(histories, PLAN, quiet), train(histories, PLAN, quiet)
    assert one.artifact == other.artifact

    *_, (_, features) = over_history(histories["A"])
    assert features is not None
    probability = LightGbmClassifier(one.artifact).probability_up(features)
    assert 0 < probability < 1
    assert LightGbmClassifier(other.artifact).probability_up(features) == probability


def test_progress_goes_from_nothing_to_all() -> None:
    heard: list[float] = []
    train({"A": a_walk(3000)}, PLAN, lambda _, fraction: heard.append(fraction))

    assert heard == sorted(heard)
    assert (heard[0], heard[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("bars", [a_walk(100), a_walk(600), bars_of([100.0 + n for n in range(4000)])])
def test_too_little_history_is_said_so(bars: list[Bar]) -> None:
    with pytest.raises(NotEnoughHistory):
        train({"A": bars}, PLAN, quiet)


def test_a_model_of_other_features_is_refused(learnt: Trained) -> None:
    names = list(FEATURE_NAMES)
    random.Random(1).shuffle(names)  # noqa: S311 - an order, not a secret
    renamed = learnt.artifact.replace(
        f"feature_names={' '.join(FEATURE_NAMES)}".encode(), f"feature_names={' '.join(names)}".encode()
    )

    with pytest.raises(ArtifactUnusable, match="other features"):
        LightGbmClassifier(renamed)
