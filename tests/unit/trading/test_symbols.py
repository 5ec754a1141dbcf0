"""What a symbol demands of an order."""

from decimal import Decimal

import pytest

from services.trading.domain.markets import Symbol
from services.trading.errors import NotionalTooSmall, PrecisionExceeded
from tests.unit.trading.builders import BTC, SYMBOLS, some_terms

PRICE = Decimal(100)


def test_whole_steps_worth_enough_are_taken() -> None:
    SYMBOLS[BTC].check(some_terms(quantity="0.05"), PRICE)
    SYMBOLS[BTC].check(some_terms(quantity="0.05000", limit="100.10"), PRICE)


@pytest.mark.parametrize(
    ("quantity", "limit", "field", "step"),
    [("0.050001", None, "quantity", "0.00001"), ("0.05", "100.001", "limit_price", "0.01")],
)
def test_an_over_precise_number_is_refused_with_its_field_and_step(
    quantity: str, limit: str | None, field: str, step: str
) -> None:
    with pytest.raises(PrecisionExceeded) as refused:
        SYMBOLS[BTC].check(some_terms(quantity=quantity, limit=limit), PRICE)

    assert refused.value.metadata == {"field": field, "step": step}


def test_a_market_order_is_worth_what_the_market_says_and_a_limit_order_what_it_says() -> None:
    with pytest.raises(NotionalTooSmall) as refused:
        SYMBOLS[BTC].check(some_terms(quantity="0.04999"), PRICE)
    assert refused.value.metadata == {"min_notional": "5"}

    SYMBOLS[BTC].check(some_terms(quantity="0.05", limit="100"), Decimal(1))
    with pytest.raises(NotionalTooSmall):
        SYMBOLS[BTC].check(some_terms(quantity="0.05", limit="99.99"), PRICE)


@pytest.mark.parametrize("steps", [("0", "1", "0"), ("1", "-1", "0"), ("1", "1", "-1")])
def test_a_symbol_without_steps_is_refused(steps: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match="steps must be above 0"):
        Symbol(BTC, *map(Decimal, steps))
