"""The engine as a whole: when it speaks, what it remembers, what it never says."""

import hashlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.prediction.domain.market import INTERVAL_MS, Bar
from services.prediction.features.engine import FEATURE_NAMES, FEATURES, FeatureEngine, InvalidBar, over_history
from services.prediction.features.step import WARMUP
from tests.candles import a_bar, a_walk, bars_of

BOUNDS = {
    "efficiency_36": (-1, 1),
    "rising_share_12": (0, 1),
    "bollinger_20": (-math.sqrt(19) - 1e-9, math.sqrt(19) + 1e-9),
    "score_96": (-math.sqrt(95) - 1e-9, math.sqrt(95) + 1e-9),
    "score_288": (-math.sqrt(287) - 1e-9, math.sqrt(287) + 1e-9),
    "volume_score_48": (-math.sqrt(47) - 1e-9, math.sqrt(47) + 1e-9),
    "volume_score_288": (-math.sqrt(287) - 1e-9, math.sqrt(287) + 1e-9),
    "channel_20": (0, 1),
    "channel_96": (0, 1),
    "autocorrelation_48": (-1, 1),
    "price_volume_48": (-1, 1),
    "range_volume_48": (-1, 1),
    "volume_pressure_24": (-1, 1),
    "rsi_14": (0, 100),
    "body": (-1, 1),
    "upper_shadow": (0, 1),
    "lower_shadow": (0, 1),
    "day_sin": (-1, 1),
    "day_cos": (-1, 1),
    "week_sin": (-1, 1),
    "week_cos": (-1, 1),
} | dict.fromkeys(
    ("bollinger_width_20", "volatility_12", "volatility_48", "volatility_288", "atr_14", "true_range"), (0, math.inf)
)


def after(bars: list[Bar]) -> dict[str, float]:
    """The features after the last of ``bars``."""
    *_, (_, values) = over_history(bars)
    assert values is not None
    return dict(zip(FEATURE_NAMES, values, strict=True))


def test_there_are_no_features_before_the_warm_up_is_over() -> None:
    values = [features for _, features in over_history(a_walk(WARMUP + 1))]

    assert values[: WARMUP - 1] == [None] * (WARMUP - 1)
    assert all(value is not None and len(value) == len(FEATURES) for value in values[WARMUP - 1 :])


def test_feature_names_are_unique_and_no_window_is_longer_than_the_warm_up() -> None:
    assert len(FEATURES) >= 24
    assert len(set(FEATURE_NAMES)) == len(FEATURES)
    assert all(feature.meaning and 1 <= feature.window <= WARMUP for feature in FEATURES)


@pytest.mark.parametrize("start", [1, 7, 143, 144, 145, 500, 1311])
def test_an_engine_started_late_gives_the_very_bits_of_one_that_ran_for_long(start: int) -> None:
    bars = a_walk(1900)
    long = [features for _, features in over_history(bars)]
    late = [features for _, features in over_history(bars[start:])]

    assert late[WARMUP - 1 :] == long[start + WARMUP - 1 :]


def test_nothing_drifts_in_a_hundred_thousand_candles() -> None:
    bars = a_walk(100_000)
    *_, (_, long) = over_history(bars)
    *_, (_, short) = over_history(bars[-WARMUP:])

    assert short is not None
    assert long == short


def test_the_future_does_not_reach_back() -> None:
    bars = a_walk(700)
    other = [*bars[:500], *a_walk(200, seed=2, first=500)]

    assert [f for _, f in over_history(bars)][:500] == [f for _, f in over_history(other)][:500]


def test_a_missing_candle_makes_the_engine_begin_again() -> None:
    bars = a_walk(3 * WARMUP)
    holed = bars[:300] + bars[301:]
    values = [features for _, features in over_history(holed)]

    assert values[299] is not None
    assert values[300 : 300 + WARMUP - 1] == [None] * (WARMUP - 1)
    assert values[300 + WARMUP - 1] == [f for _, f in over_history(bars[301:])][WARMUP - 1]


@pytest.mark.parametrize(
    "bar",
    [
        a_bar(1, close=0.0),
        a_bar(1, close=-1.0),
        a_bar(1, close=math.nan),
        a_bar(1, close=math.inf),
        a_bar(1, high=99.0),
        a_bar(1, low=101.0),
        a_bar(1, open=101.0),
        a_bar(1, volume=-1.0),
        a_bar(1, volume=math.nan),
        a_bar(1, volume=math.inf),
        a_bar(0),
        a_bar(-1),
        a_bar(1)._replace(open_time_ms=a_bar(1).open_time_ms + 1),
    ],
)
def test_an_impossible_candle_is_refused_and_changes_nothing(bar: Bar) -> None:
    first = a_bar()
    engine = FeatureEngine()
    engine.update(first)

    with pytest.raises(InvalidBar):
        engine.update(bar)
    assert engine.last == first


def test_without_movement_and_volume_everything_is_calm_and_finite() -> None:
    values = after([a_bar(number, volume=0.0) for number in range(WARMUP + 200)])

    assert values["rsi_14"] == 50
    assert values["channel_20"] == values["channel_96"] == 0.5
    timeless = {name: value for name, value in values.items() if not name.startswith(("day_", "week_"))}
    assert {name for name, value in timeless.items() if value != 0} == {"rsi_14", "channel_20", "channel_96"}


def test_the_unit_of_the_price_does_not_matter() -> None:
    closes = [bar.close for bar in a_walk(WARMUP + 50)]
    dear, cheap = after(bars_of(closes)), after(bars_of([close / 1024 for close in closes]))

    assert cheap == pytest.approx(dear, rel=1e-6, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(1e-300, 1e300), st.floats(0, 1e300), st.floats(1, 10), st.floats(1, 10)),
        min_size=5,
        max_size=40,
    )
)
def test_features_are_finite_and_within_their_bounds(shapes: list[tuple[float, float, float, float]]) -> None:
    shapes = (shapes * WARMUP)[: WARMUP + len(shapes)]
    engine = FeatureEngine()
    for number, (close, volume, above, below) in enumerate(shapes):
        values = engine.update(a_bar(number, close, high=close * above, low=close / below, volume=volume))
        for name, value in zip(FEATURE_NAMES, values or (), strict=False):
            low, high = BOUNDS.get(name, (-math.inf, math.inf))
            assert math.isfinite(value), name
            assert low <= value <= high, name


def test_a_changed_computation_needs_a_new_revision() -> None:
    """When this fails on purpose, raise ``_REVISION`` in the engine: models of the old features must not serve."""
    values = after(a_walk(WARMUP + 77))
    digest = hashlib.sha256("".join(f"{name}={value:.6g};" for name, value in values.items()).encode())

    assert digest.hexdigest()[:16] == "23a4eb30fdb437dc"


def test_the_times_of_day_and_week_are_those_of_the_close() -> None:
    bars = a_walk(WARMUP)
    monday = next(n for n in range(2016) if (bars[-1].close_time_ms // INTERVAL_MS + n) % 2016 == 4 * 288)
    values = after(a_walk(WARMUP, first=monday))

    assert [values[name] for name in ("day_sin", "day_cos", "week_sin", "week_cos")] == pytest.approx([0, 1, 0, 1])
