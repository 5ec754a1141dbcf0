"""What rows are made of, and how time is cut."""

import numpy as np

from services.prediction.domain.market import INTERVAL_MS
from services.prediction.features.engine import over_history
from services.prediction.features.step import WARMUP
from services.prediction.learning import dataset
from tests.candles import START_MS, a_walk, bars_of

HORIZON = 3


def test_an_outcome_compares_the_close_with_that_of_the_horizon() -> None:
    bars = bars_of([10.0, 11.0, 12.0, 10.5, 11.0, 9.0])
    after = dataset.outcomes(bars, HORIZON)

    assert after == {bars[0].open_time_ms: True, bars[1].open_time_ms: False, bars[2].open_time_ms: False}


def test_a_candle_whose_horizon_is_missing_has_no_outcome() -> None:
    bars = bars_of([10.0, 11.0, 12.0, 10.5, 11.0])
    after = dataset.outcomes([bar for number, bar in enumerate(bars) if number != 4], HORIZON)

    assert list(after) == [bars[0].open_time_ms]


def test_rows_hold_the_features_of_their_candle_and_only_known_outcomes() -> None:
    bars = a_walk(WARMUP + 20)
    rows = dataset.rows_of(bars, HORIZON)
    known = [(bar, features) for bar, features in over_history(bars) if features is not None][:-HORIZON]

    assert rows.close_time_ms.tolist() == [bar.close_time_ms for bar, _ in known]
    assert rows.features.tolist() == [list(features) for _, features in known]
    closes = [bar.close for bar in bars]
    assert rows.up.tolist() == [closes[n + HORIZON] > closes[n] for n in range(WARMUP - 1, WARMUP + 20 - HORIZON)]
    assert rows.was_up.tolist() == [closes[n] > closes[n - HORIZON] for n in range(WARMUP - 1, WARMUP + 20 - HORIZON)]


def test_symbols_are_merged_by_time() -> None:
    one, other = dataset.rows_of(a_walk(320), HORIZON), dataset.rows_of(a_walk(330, seed=2), HORIZON)
    merged = dataset.merge([one, other])

    assert len(merged) == len(one) + len(other)
    assert (np.diff(merged.close_time_ms) >= 0).all()
    assert merged.features[0].tolist() == one.features[0].tolist()
    assert merged.features[1].tolist() == other.features[0].tolist()


def test_no_outcome_of_a_window_is_known_later_than_the_next_begins() -> None:
    rows = dataset.merge([dataset.rows_of(a_walk(1000, seed=seed), HORIZON) for seed in (1, 2)])
    split = dataset.split(rows, HORIZON, validation_share=0.2, test_share=0.2)

    for earlier, later in ((split.train, split.validation), (split.validation, split.test)):
        assert earlier.close_time_ms[-1] + HORIZON * INTERVAL_MS < later.close_time_ms[0]
        assert later.close_time_ms[0] - earlier.close_time_ms[-1] == (HORIZON + 1) * INTERVAL_MS
    assert split.test.close_time_ms[-1] == rows.close_time_ms[-1]
    lost = len(rows) - len(split.train) - len(split.validation) - len(split.test)
    assert lost == 2 * 2 * HORIZON


def test_one_changed_number_changes_the_hash_of_a_history() -> None:
    bars = a_walk(50)
    changed = [*bars[:-1], bars[-1]._replace(volume=bars[-1].volume + 1e-9)]

    assert dataset.describe("S", bars) == dataset.describe("S", list(bars))
    assert dataset.describe("S", bars).content_sha256 != dataset.describe("S", changed).content_sha256
    assert dataset.describe("S", bars).start_time.timestamp() * 1000 == START_MS
