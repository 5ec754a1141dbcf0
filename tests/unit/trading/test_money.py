"""Exact arithmetic."""

from decimal import Decimal, FloatOperation, Inexact

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trading.domain.money import ceil_to, exact, floor_to, rounded_quotient, share, trimmed

contract_digits = st.decimals(min_value=0, max_value=10**18 - 1, places=18, allow_nan=False)


def test_a_fee_keeps_every_digit() -> None:
    assert share(Decimal("61250.55") * Decimal("0.00001"), Decimal("7.5")) == Decimal("0.000459379125")


def test_an_exact_function_raises_rather_than_rounds() -> None:
    third = exact(lambda value: value / 3)

    assert third(Decimal(9)) == 3
    with pytest.raises(Inexact):
        third(Decimal(10))


def test_an_exact_function_refuses_floats() -> None:
    with pytest.raises(FloatOperation):
        exact(lambda value: value > 0.1)(Decimal(1))


@given(contract_digits, contract_digits)
def test_any_notional_of_the_contract_and_its_fee_are_exact(quantity: Decimal, price: Decimal) -> None:
    @exact
    def cost() -> Decimal:
        notional = quantity * price
        return notional + share(notional, Decimal("9999.9999"))

    assert cost() >= 0


@given(contract_digits, st.sampled_from(["1", "0.01", "0.00001", "0.25", "5"]))
def test_floor_and_ceil_are_the_nearest_multiples_around_a_value(value: Decimal, step_text: str) -> None:
    step = Decimal(step_text)
    low, high = floor_to(value, step), ceil_to(value, step)

    assert low <= value <= high
    assert high - low in (0, step)
    assert exact(lambda: low % step + high % step)() == 0


def test_a_multiple_is_written_with_the_digits_of_its_step() -> None:
    assert str(floor_to(Decimal("100.120035"), Decimal("0.01"))) == "100.12"
    assert str(ceil_to(Decimal("100.120035"), Decimal("0.01"))) == "100.13"


def test_a_trimmed_number_is_the_same_number() -> None:
    long = Decimal("123456789012345678901234567890.123456789012345678901234567890")

    assert format(trimmed(Decimal("100000.000")), "f") == "100000"
    assert trimmed(long) == long


def test_a_quotient_is_rounded_half_to_even_to_18_places() -> None:
    assert rounded_quotient(Decimal(2), Decimal(3)) == Decimal("0.666666666666666667")
    assert rounded_quotient(Decimal("5e-19"), Decimal(1)) == 0
