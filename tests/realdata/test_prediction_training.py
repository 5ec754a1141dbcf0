"""Features and the first model on recorded five-minute candles of BTC and ETH."""

import pytest

from services.prediction.domain.market import Bar
from services.prediction.domain.trainings import Plan
from services.prediction.features.engine import over_history
from services.prediction.features.step import WARMUP
from services.prediction.learning.training import train
from tests.candles import recorded

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def histories() -> dict[str, list[Bar]]:
    return {f"{asset}-USDT@binance": recorded(asset) for asset in ("BTC", "ETH")}


@pytest.mark.parametrize("start", [1, 12_345, 71_000])
def test_real_features_do_not_depend_on_when_the_engine_started(histories: dict[str, list[Bar]], start: int) -> None:
    bars = histories["BTC-USDT@binance"]
    long = [features for _, features in over_history(bars)]
    late = [features for _, features in over_history(bars[start:])]

    assert late[WARMUP - 1 :] == long[start + WARMUP - 1 :]
    assert None not in long[WARMUP - 1 :]


def test_the_model_of_real_candles_is_better_than_chance_and_modest(histories: dict[str, list[Bar]]) -> None:
    """Measured when this was written: AUC 0.535, accuracy 0.526, hit rate 0.544, calibration error 0.012."""
    card = train(histories, Plan(), lambda _stage, _fraction: None).card

    assert 0.52 < card.metrics.auc < 0.56  # far above would mean that it saw the future
    assert card.metrics.log_loss < 0.6931
    assert card.metrics.hit_rate > 0.52
    assert card.metrics.ece < 0.03
    assert all(card.metrics.accuracy > baseline.accuracy for baseline in card.baselines)
    assert [span.candles for span in card.data] == [71_769, 71_769]
