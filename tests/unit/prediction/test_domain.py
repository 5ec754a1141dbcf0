"""Identity of predictions, thresholds, candles."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from services.prediction.domain.market import Bar, Candle, from_ms, to_ms
from services.prediction.domain.predictions import Direction, Thresholds, prediction_id

CLOSED = datetime(2024, 8, 9, 0, 5, tzinfo=UTC)


def test_the_same_model_symbol_and_candle_give_the_same_id_and_any_other_another() -> None:
    ids = {
        prediction_id(version, symbol, moment)
        for version in ("a", "b")
        for symbol in ("BTC-USDT@simex", "ETH-USDT@simex")
        for moment in (CLOSED, CLOSED.replace(minute=10))
    }

    assert len(ids) == 8
    assert prediction_id("a", "BTC-USDT@simex", CLOSED) in ids
    assert str(prediction_id("a", "BTC-USDT@simex", CLOSED)) == "022d94dc-2ce3-5a71-b84d-f02eac404899"


@pytest.mark.parametrize(
    ("probability", "direction"),
    [
        (0.7, Direction.UP),
        (0.699, Direction.NEUTRAL),
        (0.401, Direction.NEUTRAL),
        (0.4, Direction.DOWN),
        (0.0, Direction.DOWN),
        (1.0, Direction.UP),
    ],
)
def test_a_probability_at_a_threshold_has_crossed_it(probability: float, direction: Direction) -> None:
    assert Thresholds(0.4, 0.7).direction(probability) is direction


@pytest.mark.parametrize(("lower", "upper"), [(0.6, 0.4), (0.5, 0.5), (-0.1, 0.5), (0.5, 1.1)])
def test_thresholds_out_of_order_are_refused(lower: float, upper: float) -> None:
    with pytest.raises(ValueError, match="thresholds"):
        Thresholds(lower, upper)


def test_milliseconds_and_moments_are_the_same_time() -> None:
    assert from_ms(to_ms(CLOSED)) == CLOSED
    assert to_ms(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == 1000


def test_a_candle_gives_its_numbers_to_the_features() -> None:
    opened = datetime(2024, 8, 9, tzinfo=UTC)
    candle = Candle("BTC-USDT@simex", opened, *map(Decimal, ("1.10", "1.3", "1.0", "1.2", "5")))

    assert candle.close_time == CLOSED
    assert candle.bar() == Bar(to_ms(opened), 1.1, 1.3, 1.0, 1.2, 5.0)
    assert candle.bar().close_time_ms == to_ms(CLOSED)
