"""Which rows are taken in, and which break a rule."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.marketdata.domain.market import AssetType, Candle, Trade
from services.marketdata.domain.quarantine import Reason
from services.marketdata.domain.rates import Rate
from services.marketdata.domain.rules import RULES, Fault, Horizon, TradeOrder, rate_fault
from tests.unit.marketdata.builders import a_candle, a_trade, at

CRYPTO, EQUITY, FX = (RULES[kind] for kind in (AssetType.CRYPTO, AssetType.EQUITY, AssetType.FX))
ANY_TIME = Horizon()
NUMBERS = some.decimals(min_value=Decimal("1e-8"), max_value=Decimal("1e7"), places=8)


def reason(fault: Fault | None) -> Reason | None:
    return None if fault is None else fault.reason


@pytest.mark.parametrize(
    ("wrong", "broken"),
    [
        ({"trade_id": ""}, Reason.MALFORMED),
        ({"trade_id": "1\0"}, Reason.MALFORMED),
        ({"trade_id": "1" * 129}, Reason.MALFORMED),
        ({"price": Decimal(0)}, Reason.PRICE),
        ({"price": Decimal(-1)}, Reason.PRICE),
        ({"price": Decimal("NaN")}, Reason.PRICE),
        ({"price": Decimal("1e16")}, Reason.PRICE),
        ({"quantity": Decimal(0)}, Reason.QUANTITY),
        ({"quantity": Decimal("Infinity")}, Reason.QUANTITY),
        ({"price": Decimal("1e-19")}, Reason.PRECISION),
        ({"price": Decimal("1234567890.1234567890123456789")}, Reason.PRECISION),
        ({"quantity": Decimal("1e20")}, Reason.PRECISION),
        ({"trade_time": at(61)}, Reason.FUTURE),
        ({"trade_time": at(-61)}, Reason.TOO_OLD),
    ],
)
def test_a_trade_that_breaks_a_rule_is_refused_for_that_reason(wrong: dict[str, Any], broken: Reason) -> None:
    horizon = Horizon(at(60), at(-60))
    assert CRYPTO.trade_fault(a_trade(1, 0), horizon) is None
    assert reason(CRYPTO.trade_fault(replace(a_trade(1, 0), **wrong), horizon)) is broken


@pytest.mark.parametrize(
    ("wrong", "broken"),
    [
        ({"high": Decimal(98)}, Reason.CANDLE_RANGE),
        ({"open": Decimal(102)}, Reason.CANDLE_RANGE),
        ({"close": Decimal("98.9")}, Reason.CANDLE_RANGE),
        ({"low": Decimal(0)}, Reason.PRICE),
        ({"volume": Decimal(-1)}, Reason.QUANTITY),
        ({"open_time": at(30)}, Reason.MALFORMED),
        ({"open_time": at(120)}, Reason.FUTURE),
    ],
)
def test_a_candle_that_breaks_a_rule_is_refused_for_that_reason(wrong: dict[str, Any], broken: Reason) -> None:
    candle = a_candle(0, ("100", "101", "99", "100"))
    assert CRYPTO.candle_fault(candle, Horizon(at(60))) is None
    assert reason(CRYPTO.candle_fault(replace(candle, **wrong), Horizon(at(60)))) is broken


def test_each_kind_of_asset_has_its_own_rules() -> None:
    part = a_trade(1, 0, quantity="0.5")
    assert CRYPTO.trade_fault(part, ANY_TIME) is None
    assert reason(EQUITY.trade_fault(part, ANY_TIME)) is Reason.QUANTITY
    dear = a_trade(1, 0, price="2000000000")
    assert CRYPTO.trade_fault(dear, ANY_TIME) is None
    assert reason(FX.trade_fault(dear, ANY_TIME)) is Reason.PRICE


@given(some.lists(NUMBERS, min_size=4, max_size=4), NUMBERS)
def test_a_candle_whose_prices_are_sorted_is_always_sound(prices: list[Decimal], volume: Decimal) -> None:
    low, first, last, high = sorted(prices)
    sound = replace(a_candle(0), open=first, high=high, low=low, close=last, volume=volume)
    assert CRYPTO.candle_fault(sound, ANY_TIME) is None


@given(some.lists(NUMBERS, min_size=4, max_size=4))
def test_what_is_not_refused_keeps_every_promise_of_a_candle(prices: list[Decimal]) -> None:
    first, high, low, last = prices
    candle: Candle = replace(a_candle(0), open=first, high=high, low=low, close=last)
    if CRYPTO.candle_fault(candle, ANY_TIME) is None:
        assert low <= min(first, last) <= max(first, last) <= high


@given(some.permutations(range(1, 12)))
def test_trades_that_only_arrive_late_are_never_out_of_order(numbers: list[int]) -> None:
    order = TradeOrder()
    assert [order.fault(a_trade(number, number)) for number in numbers] == [None] * len(numbers)


def test_a_low_number_at_a_late_time_is_out_of_order_and_the_line_goes_on() -> None:
    order = TradeOrder()
    assert order.fault(a_trade(10, 1)) is None
    assert reason(order.fault(a_trade(5, 2))) is Reason.OUT_OF_ORDER
    assert order.fault(a_trade(11, 3)) is None
    assert reason(order.fault(a_trade(11, 4))) is Reason.CONFLICT
    assert order.fault(a_trade("a", 5)) is None


def test_a_source_that_counts_anew_is_believed_at_the_third_trade() -> None:
    order = TradeOrder()
    trades = [a_trade(1000, 0), *(a_trade(number, 10 + number) for number in range(1, 7))]
    broken: list[Trade] = [trade for trade in trades if order.fault(trade) is not None]
    assert [trade.trade_id for trade in broken] == ["1", "2"]


@pytest.mark.parametrize(
    ("rate", "day", "broken"),
    [
        ("1.0842", date(2024, 3, 5), None),
        ("1.0842", date(2024, 3, 6), None),
        ("1.0842", date(2024, 3, 7), Reason.FUTURE),
        ("0", date(2024, 3, 5), Reason.PRICE),
        ("1e10", date(2024, 3, 5), Reason.PRICE),
    ],
)
def test_rates_have_rules_too(rate: str, day: date, broken: Reason | None) -> None:
    row = Rate("ecb", "EUR", "USD", day, Decimal(rate))
    assert reason(rate_fault(row, date(2024, 3, 5))) is broken


def test_nothing_is_said_about_times_of_a_source_whose_clock_is_not_known() -> None:
    far = replace(a_trade(1, 0), trade_time=at(0) + timedelta(days=10_000))
    assert CRYPTO.trade_fault(far, ANY_TIME) is None
