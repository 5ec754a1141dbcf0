"""The life of an order."""

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from services.trading.domain.orders import Order, OrderStatus, OrderTerms, OrderType, Side
from services.trading.errors import ClientOrderIdReused, OrderClosed
from tests.unit.trading.builders import BTC, NOW, a_fill, an_order, some_terms


def filled(order: Order, *quantities: str, price: str = "100") -> Order:
    for quantity in quantities:
        order = order.filled(a_fill(order, price, quantity, fee="0.1"))
    return order


def test_a_new_order_is_open_and_has_filled_nothing() -> None:
    order = an_order(quantity="2")

    assert (order.status, order.remaining, order.version) == (OrderStatus.OPEN, Decimal(2), 1)
    assert order.filled_quantity == 0
    assert order.average_fill_price is None


def test_an_order_fills_in_parts_and_then_is_filled() -> None:
    order = filled(an_order(quantity="2"), "0.5")
    assert (order.status, order.remaining) == (OrderStatus.PARTIALLY_FILLED, Decimal("1.5"))

    order = order.filled(a_fill(order, "120", "1.5", fee="0.2"))
    assert (order.status, order.remaining, order.fee) == (OrderStatus.FILLED, Decimal(0), Decimal("0.3"))
    assert order.average_fill_price == 115


def test_a_fill_of_more_than_is_left_is_refused() -> None:
    order = filled(an_order(quantity="2"), "1.5")

    with pytest.raises(ValueError, match=r"has 0\.5 left"):
        filled(order, "0.50001")


@pytest.mark.parametrize("quantity", ["0", "-1"])
def test_a_fill_of_nothing_is_refused(quantity: str) -> None:
    with pytest.raises(ValueError, match="does not belong to it"):
        filled(an_order(), quantity)


def test_a_fill_of_another_order_is_refused() -> None:
    order = an_order()

    with pytest.raises(ValueError, match="does not belong to it"):
        order.filled(a_fill(order, "100", "1", order_id=uuid4()))


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, "100.01"), (Side.SELL, "99.99")])
def test_a_fill_beyond_the_limit_is_refused(side: Side, price: str) -> None:
    with pytest.raises(ValueError, match="limited to 100"):
        filled(an_order(side, limit="100"), "1", price=price)


@pytest.mark.parametrize("fills", [(), ("0.4",)])
def test_what_is_open_can_be_cancelled_and_keeps_its_fills(fills: tuple[str, ...]) -> None:
    order = filled(an_order(limit="100"), *fills)

    cancelled = order.cancelled()

    assert (cancelled.status, cancelled.filled_quantity) == (OrderStatus.CANCELLED, order.filled_quantity)
    assert cancelled.reserved_cash == cancelled.reserved_quantity == 0


def test_a_filled_order_cannot_be_cancelled() -> None:
    with pytest.raises(OrderClosed) as refused:
        filled(an_order(), "1").cancelled()

    assert refused.value.metadata == {"status": "ORDER_STATUS_FILLED"}


@pytest.mark.parametrize("end", [filled(an_order(), "1"), an_order(limit="100").cancelled()])
def test_nothing_fills_an_order_that_has_ended(end: Order) -> None:
    with pytest.raises(ValueError, match="nothing can fill it"):
        filled(end, "0.1")


def test_a_resting_buy_reserves_its_worst_cost_and_gives_it_back_as_it_fills() -> None:
    order = an_order(quantity="2", limit="100")
    assert (order.reserved_cash, order.reserved_quantity) == (Decimal("200.2"), Decimal(0))
    assert filled(order, "0.5").reserved_cash == Decimal("150.15")
    assert filled(order, "2").reserved_cash == 0


def test_a_resting_sell_reserves_what_it_will_deliver() -> None:
    order = an_order(Side.SELL, quantity="2", limit="100")
    assert (order.reserved_cash, order.reserved_quantity) == (Decimal(0), Decimal(2))
    assert filled(order, "0.5").reserved_quantity == Decimal("1.5")


def test_a_repetition_with_the_same_content_is_the_order_as_it_is_now() -> None:
    terms = some_terms(quantity="1.50", limit="100")
    order = filled(an_order(quantity="1.5", limit="100.0"), "1")
    again = OrderTerms(**{name: getattr(order.terms, name) for name in OrderTerms.__slots__})

    assert order.repeated(again) is order
    assert terms.quantity == order.terms.quantity


@pytest.mark.parametrize(
    "other",
    [
        {"side": Side.SELL},
        {"quantity": Decimal(2)},
        {"limit_price": Decimal(99)},
        {"symbol": "ETH-USDT@simex"},
        {"type": OrderType.MARKET, "limit_price": None},
        {"prediction_id": uuid4()},
        {"strategy": "signal-follower"},
    ],
)
def test_a_repetition_with_other_content_is_refused(other: dict[str, object]) -> None:
    order = an_order(limit="100")
    terms = OrderTerms(**{**{name: getattr(order.terms, name) for name in OrderTerms.__slots__}, **other})

    with pytest.raises(ClientOrderIdReused):
        order.repeated(terms)


def test_every_recorded_change_has_the_next_version() -> None:
    later = NOW + timedelta(seconds=1)
    changed = an_order().changed(later)

    assert (changed.version, changed.created_at, changed.updated_at) == (2, NOW, later)


@pytest.mark.parametrize("quantity", ["0", "-1", "NaN", "Infinity"])
def test_terms_refuse_a_quantity_that_is_none(quantity: str) -> None:
    with pytest.raises(ValueError, match="quantity must be above 0"):
        some_terms(quantity=quantity)


def test_terms_have_a_limit_price_exactly_when_they_are_limited() -> None:
    with pytest.raises(ValueError, match="a limit order has a limit price"):
        OrderTerms(client_order_id="a", symbol=BTC, side=Side.BUY, type=OrderType.LIMIT, quantity=Decimal(1))
    with pytest.raises(ValueError, match="price must be above 0"):
        some_terms(limit="0")
