"""What the paper venue fills, at which price and for which fee."""

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from services.trading.adapters.paper import PaperVenue
from services.trading.domain.orders import Liquidity, Side
from services.trading.errors import StaleMarketData
from tests.unit.trading.builders import ETH, FEES, NOW, FixedMarket, a_trade, an_order


def paper(**prices: str) -> PaperVenue:
    return PaperVenue(FixedMarket(**(prices or {"BTC": "100.00"})), FEES, Decimal(5), uuid4)


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, "100.13"), (Side.SELL, "100.01")])
def test_a_market_order_fills_whole_at_the_newest_price_with_slippage_rounded_against_it(
    side: Side, price: str
) -> None:
    order = an_order(side, quantity="0.5")

    (fill,) = paper(BTC="100.07").place(order)

    assert (fill.price, fill.quantity, fill.liquidity) == (Decimal(price), Decimal("0.5"), Liquidity.TAKER)
    assert fill.fee == Decimal(price) * Decimal("0.5") * Decimal("0.0015")


def test_a_sale_at_the_smallest_price_still_has_one() -> None:
    (fill,) = paper(BTC="0.01").place(an_order(Side.SELL))

    assert fill.price == Decimal("0.01")


def test_a_market_order_without_a_price_is_refused() -> None:
    with pytest.raises(StaleMarketData):
        paper(ETH="1").place(an_order())


@pytest.mark.parametrize(
    ("side", "limit"), [(Side.BUY, "100"), (Side.BUY, "105"), (Side.SELL, "100"), (Side.SELL, "95")]
)
def test_a_marketable_limit_order_takes_the_newest_price(side: Side, limit: str) -> None:
    (fill,) = paper().place(an_order(side, limit=limit))

    assert (fill.price, fill.liquidity, fill.fee) == (Decimal(100), Liquidity.TAKER, Decimal("0.15"))


@pytest.mark.parametrize(("side", "limit"), [(Side.BUY, "99.99"), (Side.SELL, "100.01")])
def test_another_limit_order_rests(side: Side, limit: str) -> None:
    assert paper().place(an_order(side, limit=limit)) == []


@pytest.mark.parametrize(
    ("side", "traded"), [(Side.BUY, "99"), (Side.BUY, "98.5"), (Side.SELL, "99"), (Side.SELL, "99.5")]
)
def test_a_trade_at_or_through_the_limit_fills_a_resting_order_at_its_limit_as_maker(side: Side, traded: str) -> None:
    order = an_order(side, quantity="0.5", limit="99")

    (fill,) = paper().match([order], [a_trade(traded, trade_id="t1")])

    assert (fill.price, fill.quantity, fill.liquidity) == (Decimal(99), Decimal("0.5"), Liquidity.MAKER)
    assert (fill.fee, fill.venue_trade_id) == (Decimal("0.0495"), "t1")


@pytest.mark.parametrize(("side", "traded"), [(Side.BUY, "99.01"), (Side.SELL, "98.99")])
def test_a_trade_that_does_not_reach_the_limit_fills_nothing(side: Side, traded: str) -> None:
    assert paper().match([an_order(side, limit="99")], [a_trade(traded)]) == []


@pytest.mark.parametrize("symbol", [ETH, "NEW-USDT@simex"])
def test_a_trade_of_another_symbol_known_or_not_fills_nothing(symbol: str) -> None:
    assert paper().match([an_order(limit="99")], [a_trade("98", symbol=symbol)]) == []


def test_a_trade_that_reached_us_before_the_order_fills_nothing() -> None:
    early = a_trade("98", received_at=NOW - timedelta(microseconds=1))

    assert paper().match([an_order(limit="99", at=NOW)], [early]) == []


def test_no_more_fills_than_was_traded_and_the_next_trade_goes_on() -> None:
    order = an_order(quantity="1", limit="99")

    fills = paper().match([order], [a_trade("99", "0.3"), a_trade("99", "0.3"), a_trade("99", "5")])

    assert [fill.quantity for fill in fills] == [Decimal("0.3"), Decimal("0.3"), Decimal("0.4")]


def test_resting_orders_share_a_trade_by_price_then_by_time() -> None:
    old, young, better = an_order(limit="99"), an_order(limit="99"), an_order(limit="99.5")

    fills = paper().match([old, young, better], [a_trade("98", "2.5")])

    assert [(fill.order_id, fill.quantity) for fill in fills] == [
        (better.order_id, 1),
        (old.order_id, 1),
        (young.order_id, Decimal("0.5")),
    ]


def test_only_whole_steps_fill() -> None:
    fills = paper().match([an_order(limit="99")], [a_trade("99", "0.000019"), a_trade("99", "0.000009")])

    assert [fill.quantity for fill in fills] == [Decimal("0.00001")]


def test_what_has_ended_is_not_filled() -> None:
    assert paper().match([an_order(limit="99").cancelled()], [a_trade("99")]) == []
