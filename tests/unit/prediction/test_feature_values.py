"""Single features against their textbook formulas, computed here in another way."""

import math

import numpy as np
import pytest

from services.prediction.features.engine import FEATURE_NAMES, over_history
from services.prediction.features.step import WARMUP
from tests.candles import a_walk

BARS = a_walk(WARMUP + 613, seed=3)
CLOSE = np.log([bar.close for bar in BARS])
HIGH, LOW = np.log([bar.high for bar in BARS]), np.log([bar.low for bar in BARS])
RETURNS = np.diff(CLOSE)
VOLUME = np.log1p([bar.volume for bar in BARS])


@pytest.fixture(scope="module")
def values() -> dict[str, float]:
    *_, (_, features) = over_history(BARS)
    assert features is not None
    return dict(zip(FEATURE_NAMES, features, strict=True))


def ema(series: "np.ndarray[tuple[int], np.dtype[np.float64]]", alpha: float) -> float:
    """An exponential average with the weights written out, over all that ``series`` has."""
    weights = (1 - alpha) ** np.arange(len(series))[::-1]
    return float(np.average(series, weights=weights))


def score(series: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float:
    return float((series[-1] - series.mean()) / series.std())


@pytest.mark.parametrize("horizon", [1, 3, 6, 12, 36, 144])
def test_returns_are_differences_of_log_closes(values: dict[str, float], horizon: int) -> None:
    assert values[f"return_{horizon}"] == pytest.approx(CLOSE[-1] - CLOSE[-1 - horizon], abs=1e-12)


@pytest.mark.parametrize("window", [12, 48, 288])
def test_volatility_is_the_root_mean_square_of_returns(values: dict[str, float], window: int) -> None:
    assert values[f"volatility_{window}"] == pytest.approx(math.sqrt(np.mean(RETURNS[-window:] ** 2)), rel=1e-9)


def test_the_volatility_ratio_and_the_shock_follow_from_them(values: dict[str, float]) -> None:
    short, middle, long = (math.sqrt(np.mean(RETURNS[-window:] ** 2)) for window in (12, 48, 288))

    assert values["volatility_ratio"] == pytest.approx(math.log(short / long), abs=1e-5)
    assert values["shock"] == pytest.approx(RETURNS[-1] / middle)


def test_scores_are_deviations_from_the_mean(values: dict[str, float]) -> None:
    assert values["bollinger_20"] == pytest.approx(score(CLOSE[-20:]))
    assert values["bollinger_width_20"] == pytest.approx(CLOSE[-20:].std())
    assert values["score_96"] == pytest.approx(score(CLOSE[-96:]))
    assert values["score_288"] == pytest.approx(score(CLOSE[-288:]))
    assert values["volume_score_48"] == pytest.approx(score(VOLUME[-48:]))
    assert values["volume_score_288"] == pytest.approx(score(VOLUME[-288:]))


def test_averages_of_prices_are_exponential(values: dict[str, float]) -> None:
    assert values["ema_12"] == pytest.approx(CLOSE[-1] - ema(CLOSE, 2 / 13), abs=1e-7)
    assert values["ema_26"] == pytest.approx(CLOSE[-1] - ema(CLOSE, 2 / 27), abs=1e-6)
    assert values["macd"] == pytest.approx(ema(CLOSE, 2 / 13) - ema(CLOSE, 2 / 27), abs=1e-6)


def test_the_macd_histogram_is_macd_less_its_own_average(values: dict[str, float]) -> None:
    macd = np.array([ema(CLOSE[:n], 2 / 13) - ema(CLOSE[:n], 2 / 27) for n in range(300, len(CLOSE) + 1)])

    assert values["macd_histogram"] == pytest.approx(macd[-1] - ema(macd, 2 / 10), abs=1e-6)


def test_rsi_and_atr_are_wilders(values: dict[str, float]) -> None:
    gain, loss = (ema(np.maximum(sign * RETURNS, 0), 1 / 14) for sign in (1, -1))
    true_range = np.maximum(HIGH[1:], CLOSE[:-1]) - np.minimum(LOW[1:], CLOSE[:-1])

    assert values["rsi_14"] == pytest.approx(100 - 100 / (1 + gain / loss), abs=0.01)
    assert values["atr_14"] == pytest.approx(ema(true_range, 1 / 14), rel=1e-4)
    assert values["true_range"] == pytest.approx(true_range[-1])


def test_correlations_are_pearsons(values: dict[str, float]) -> None:
    def correlation(x: object, y: object) -> float:
        return float(np.corrcoef(np.asarray(x), np.asarray(y))[0, 1])

    assert values["price_volume_48"] == pytest.approx(correlation(RETURNS[-48:], VOLUME[-48:]))
    assert values["range_volume_48"] == pytest.approx(correlation(abs(RETURNS[-48:]), VOLUME[-48:]))
    assert values["autocorrelation_48"] == pytest.approx(correlation(RETURNS[-48:], RETURNS[-49:-1]))


def test_volume_moves_are_weighed_by_the_direction_of_the_price(values: dict[str, float]) -> None:
    pressure = (np.sign(RETURNS[-24:]) * VOLUME[-24:]).sum() / VOLUME[-24:].sum()

    assert values["volume_pressure_24"] == pytest.approx(pressure)
    assert values["volume_surge"] == pytest.approx(VOLUME[-3:].mean() - VOLUME[-48:].mean(), abs=1e-8)


@pytest.mark.parametrize("window", [20, 96])
def test_the_channel_reaches_from_lowest_low_to_highest_high(values: dict[str, float], window: int) -> None:
    high, low = max(bar.high for bar in BARS[-window:]), min(bar.low for bar in BARS[-window:])

    assert values[f"channel_{window}"] == pytest.approx((BARS[-1].close - low) / (high - low))


def test_the_path_of_the_price_is_measured(values: dict[str, float]) -> None:
    assert values["efficiency_36"] == pytest.approx(RETURNS[-36:].sum() / abs(RETURNS[-36:]).sum())
    assert values["rising_share_12"] == pytest.approx(np.mean(RETURNS[-12:] > 0))


def test_body_and_shadows_share_the_range(values: dict[str, float]) -> None:
    bar = BARS[-1]

    assert values["body"] == pytest.approx((bar.close - bar.open) / (bar.high - bar.low))
    assert abs(values["body"]) + values["upper_shadow"] + values["lower_shadow"] == pytest.approx(1)
    assert values["upper_shadow"] == pytest.approx((bar.high - max(bar.open, bar.close)) / (bar.high - bar.low))
