"""What an amount costs that is taken from an order book."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.marketdata.domain.book import BookSnapshot, Level
from services.marketdata.domain.book_cost import BookSide, Cost, cost_of_notional, cost_of_quantity
from services.marketdata.errors import LiquidityTooSmall
from tests.unit.marketdata.builders import BTC, at

_LEVELS = st.dictionaries(st.integers(1, 50), st.integers(1, 40), min_size=1, max_size=12)
_TICK, _STEP = Decimal("0.01"), Decimal("0.00001")


def a_book(bids: dict[int, int], asks: dict[int, int]) -> BookSnapshot:
    """A book whose prices are ticks and whose quantities are steps; the asks stand above the bids."""
    return BookSnapshot(
        BTC,
        77,
        tuple(Level((100 + price) * _TICK, bids[price] * _STEP) for price in sorted(bids, reverse=True)),
        tuple(Level((200 + price) * _TICK, asks[price] * _STEP) for price in sorted(asks)),
        at(0),
        at(0),
    )


def step_by_step(levels: tuple[Level, ...], steps: int) -> tuple[Fraction, Decimal]:
    """What so many steps cost, taken one by one, and the worst price."""
    one_by_one = [level.price for level in levels for _ in range(int(level.quantity / _STEP))][:steps]
    return sum((Fraction(price) * Fraction(_STEP) for price in one_by_one), Fraction(0)), one_by_one[-1]


def is_rounded(value: Decimal, exact: Fraction) -> bool:
    """Whether ``value`` is ``exact`` to 28 digits."""
    return abs(Fraction(value) - exact) <= exact / 10**27


@given(_LEVELS, _LEVELS, st.integers(1, 400), st.sampled_from(BookSide))
def test_the_cost_of_a_quantity_is_that_of_its_smallest_parts(
    bids: dict[int, int], asks: dict[int, int], steps: int, side: BookSide
) -> None:
    book = a_book(bids, asks)
    levels = book.asks if side is BookSide.ASK else book.bids
    held = sum(int(level.quantity / _STEP) for level in levels)
    if steps > held:
        with pytest.raises(LiquidityTooSmall) as refused:
            cost_of_quantity(book, side, steps * _STEP)
        assert Decimal(refused.value.metadata["available"]) == held * _STEP
        return

    cost = cost_of_quantity(book, side, steps * _STEP)

    notional, worst = step_by_step(levels, steps)
    assert Fraction(cost.notional) == notional
    assert is_rounded(cost.vwap, notional / Fraction(steps * _STEP))
    assert (cost.quantity, cost.worst_price, cost.update_id) == (steps * _STEP, worst, 77)


@given(_LEVELS, _LEVELS, st.integers(1, 400), st.sampled_from(BookSide))
def test_what_a_quantity_costs_buys_that_quantity(
    bids: dict[int, int], asks: dict[int, int], steps: int, side: BookSide
) -> None:
    book = a_book(bids, asks)
    levels = book.asks if side is BookSide.ASK else book.bids
    assume(steps <= sum(int(level.quantity / _STEP) for level in levels))
    forwards = cost_of_quantity(book, side, steps * _STEP)

    back = cost_of_notional(book, side, forwards.notional)

    assert is_rounded(back.quantity, Fraction(forwards.quantity))
    assert is_rounded(back.vwap, Fraction(forwards.vwap))
    assert (back.notional, back.worst_price) == (forwards.notional, forwards.worst_price)


def test_a_cost_tells_how_far_it_is_from_the_mid_price_on_either_side() -> None:
    book = a_book({98: 10, 0: 10}, {2: 10, 100: 10})  # bids at 1.98 and 1.00, asks at 2.02 and 3.00: the mid is 2.00

    bought = cost_of_quantity(book, BookSide.ASK, 10 * _STEP)
    sold = cost_of_quantity(book, BookSide.BID, 20 * _STEP)

    assert bought == Cost(Decimal("2.02"), 10 * _STEP, Decimal("0.000202"), Decimal("2.02"), 100.0, 77)
    assert sold == Cost(Decimal("1.49"), 20 * _STEP, Decimal("0.000298"), Decimal("1.00"), 2550.0, 77)


def test_where_the_other_side_is_empty_the_best_price_stands_for_the_mid_price() -> None:
    assert cost_of_quantity(a_book({}, {1: 1}), BookSide.ASK, _STEP).slippage_bps == 0


@pytest.mark.parametrize("side", BookSide)
def test_more_money_than_the_book_takes_is_refused_with_what_it_takes(side: BookSide) -> None:
    with pytest.raises(LiquidityTooSmall) as refused:
        cost_of_notional(a_book({98: 10}, {2: 10}), side, Decimal(1))

    assert refused.value.metadata == {"available": "0.0001980" if side is BookSide.BID else "0.0002020"}
