"""Indicators against their definitions, written down a second time."""

import math
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pytest

from services.marketdata.domain.indicators import Indicator, IndicatorKind
from services.marketdata.domain.market import Candle, Interval, Origin
from services.marketdata.use_cases.indicators import points

START = datetime(2024, 8, 9, tzinfo=UTC)
EMA = Indicator(IndicatorKind.EMA, 20)
SMA = Indicator(IndicatorKind.SMA, 20)
RSI = Indicator(IndicatorKind.RSI, 14)
ATR = Indicator(IndicatorKind.ATR, 14)
BOLLINGER = Indicator(IndicatorKind.BOLLINGER, 20, deviations=2.0)
MACD = Indicator(IndicatorKind.MACD, fast_period=12, slow_period=26, signal_period=9)
ALL = (EMA, SMA, RSI, ATR, BOLLINGER, MACD)


def candles(count: int) -> list[Candle]:
    """A market that wanders."""
    chance = random.Random(7)  # noqa: S311 - a market, and no secret
    price, found = 60_000.0, []
    for index in range(count):
        open_, price = price, price * math.exp(chance.gauss(0, 0.002))
        high, low = max(open_, price) * 1.001, min(open_, price) * 0.999
        first, most, least, last = (Decimal(f"{value:.2f}") for value in (open_, high, low, price))
        open_time = START + index * Interval.ONE_MINUTE.length
        prices = (first, most, least, last)
        found.append(Candle("BTC-USDT@simex", Interval.ONE_MINUTE, open_time, *prices, Decimal(1), Origin.TRADES))
    return found


SERIES = candles(2_000)


def closes(series: Sequence[Candle]) -> list[float]:
    return [float(candle.close) for candle in series]


def average(values: Sequence[float], weight: float, seeded_by: int) -> float:
    """The exponential average that begins with the mean of the first ``seeded_by`` values."""
    newest = sum(values[:seeded_by]) / seeded_by
    for value in values[seeded_by:]:
        newest += weight * (value - newest)
    return newest


def ema(series: Sequence[Candle]) -> dict[str, float]:
    return {"ema": average(closes(series), 2 / 21, 20)}


def sma(series: Sequence[Candle]) -> dict[str, float]:
    return {"sma": sum(closes(series)[-20:]) / 20}


def rsi(series: Sequence[Candle]) -> dict[str, float]:
    prices = closes(series)
    changes = [after - before for before, after in pairwise(prices)]
    gain = average([max(change, 0) for change in changes], 1 / 14, 14)
    loss = average([max(-change, 0) for change in changes], 1 / 14, 14)
    return {"rsi": 100 * gain / (gain + loss)}


def atr(series: Sequence[Candle]) -> dict[str, float]:
    ranges = [
        max(float(now.high), float(before.close)) - min(float(now.low), float(before.close))
        for before, now in pairwise(series)
    ]
    return {"atr": average(ranges, 1 / 14, 14)}


def bollinger(series: Sequence[Candle]) -> dict[str, float]:
    window = closes(series)[-20:]
    middle = sum(window) / 20
    deviation = math.sqrt(sum((price - middle) ** 2 for price in window) / 20)
    return {"upper": middle + 2 * deviation, "middle": middle, "lower": middle - 2 * deviation}


def macd(series: Sequence[Candle]) -> dict[str, float]:
    prices = closes(series)
    lines = [
        average(prices[: end + 1], 2 / 13, 12) - average(prices[: end + 1], 2 / 27, 26)
        for end in range(len(prices) - 400, len(prices))
    ]
    signal = average(lines, 2 / 10, 9)
    return {"macd": lines[-1], "signal": signal, "histogram": lines[-1] - signal}


@pytest.mark.parametrize(
    ("indicator", "definition"),
    [(EMA, ema), (SMA, sma), (RSI, rsi), (ATR, atr), (BOLLINGER, bollinger), (MACD, macd)],
    ids=[indicator.kind.value for indicator in (EMA, SMA, RSI, ATR, BOLLINGER, MACD)],
)
def test_the_newest_value_is_what_the_definition_says(
    indicator: Indicator, definition: Callable[[Sequence[Candle]], dict[str, float]]
) -> None:
    (point,) = points(SERIES, indicator, len(SERIES) - 1)
    assert point.open_time == SERIES[-1].open_time
    assert point.values == pytest.approx(definition(SERIES), rel=1e-8, abs=1e-6)


@pytest.mark.parametrize("indicator", ALL, ids=lambda indicator: indicator.kind.value)
def test_a_value_does_not_depend_on_how_much_is_read_before_it(indicator: Indicator) -> None:
    whole = points(SERIES, indicator, 1_500)
    for first in (1_500, 1_731, 1_999):
        begin = first - indicator.warm_up
        (of_few, *_) = points(SERIES[begin:], indicator, first - begin)
        assert of_few.values == pytest.approx(whole[first - 1_500].values, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("indicator", ALL, ids=lambda indicator: indicator.kind.value)
def test_without_enough_candles_before_there_is_no_value(indicator: Indicator) -> None:
    found = points(SERIES[:100], indicator, 0)
    assert 0 < len(found) < 100
    assert found[-1].open_time == SERIES[99].open_time
    assert points(SERIES[:5], indicator, 0) == []
    assert points([], indicator, 0) == []


@pytest.mark.parametrize(
    ("indicator", "problem"),
    [
        (EMA, None),
        (MACD, None),
        (Indicator(IndicatorKind.RSI, 1), ("period", "must be at least 2")),
        (Indicator(IndicatorKind.MACD, 0, 1, 26, 9), ("fast_period", "must be at least 2")),
        (Indicator(IndicatorKind.MACD, 0, 26, 26, 9), ("slow_period", "must be larger than fast_period")),
    ],
)
def test_parameters_without_sense_are_named(indicator: Indicator, problem: tuple[str, str] | None) -> None:
    assert indicator.problem == problem
