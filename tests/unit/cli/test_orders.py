"""``levimesh order``, ``orders``, ``fills``: exact, and never twice."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import grpc
import pytest
from google.type.decimal_pb2 import Decimal as WireDecimal

from levimesh.trading.v1 import order_pb2
from levimesh.trading.v1 import trading_service_pb2 as pb
from services.runtime.errors import FailedPrecondition, FieldViolations
from tests.edge import Aborted, Edge
from tests.unit.cli.conftest import Levimesh, complaint

FIRST = "0f6c1f0e-0000-4000-8000-000000000001"
SECOND = "0f6d1f0e-0000-4000-8000-000000000002"


class InsufficientFunds(FailedPrecondition):
    reason = "INSUFFICIENT_FUNDS"


def filled(request: pb.SubmitOrderRequest, **more: Any) -> order_pb2.Order:
    """The order that ``request`` places, filled at an awkward price."""
    return order_pb2.Order(
        order_id=FIRST,
        client_order_id=request.client_order_id,
        symbol=request.symbol,
        side=request.side,
        type=request.type,
        quantity=request.quantity,
        status=order_pb2.ORDER_STATUS_FILLED,
        filled_quantity=request.quantity,
        average_fill_price=WireDecimal(value="61250.123456789012345678"),
        fee=WireDecimal(value="0.9187518518518351852"),
        **more,
    )


def an_order(order_id: str, **more: Any) -> order_pb2.Order:
    given = {"symbol": "BTC-USDT@simex", "side": order_pb2.SIDE_BUY, "quantity": WireDecimal(value="0.05"), **more}
    return order_pb2.Order(order_id=order_id, **given)


def placing(edge: Edge) -> None:
    edge.answers["SubmitOrder"] = lambda request: pb.SubmitOrderResponse(order=filled(request))


def raising(error: Exception) -> Callable[[Any], Any]:
    def answer(_: Any) -> Any:
        raise error

    return answer


def test_buying_sends_the_number_as_it_was_typed_and_shows_exact_figures(edge: Edge, levimesh: Levimesh) -> None:
    placing(edge)

    result = levimesh("order", "buy", "BTC-USDT@simex", "0.01")

    (call,) = edge.called("SubmitOrder")
    assert (call.request.side, call.request.type) == (order_pb2.SIDE_BUY, order_pb2.ORDER_TYPE_MARKET)
    assert call.request.quantity.value == "0.01"
    assert not call.request.HasField("limit_price")
    assert result.exit_code == 0
    assert "0.01 at 61250.123456789012345678" in result.stdout
    assert "0.9187518518518351852 USDT" in result.stdout
    assert call.request.client_order_id in result.stdout
    assert FIRST in result.stdout


def test_a_limit_makes_a_limit_order(edge: Edge, levimesh: Levimesh) -> None:
    placing(edge)

    levimesh("order", "sell", "eth-usdt@SIMEX", "1.50", "--limit", "3000.10", "--id", "mine-1")

    (call,) = edge.called("SubmitOrder")
    assert (call.request.side, call.request.type) == (order_pb2.SIDE_SELL, order_pb2.ORDER_TYPE_LIMIT)
    assert call.request.symbol == "ETH-USDT@simex"
    assert call.request.limit_price.value == "3000.10"
    assert call.request.client_order_id == "mine-1"


def test_an_order_as_json_is_exact(edge: Edge, levimesh: Levimesh) -> None:
    placing(edge)

    told = json.loads(levimesh("order", "buy", "BTC-USDT@simex", "0.01", "--json").stdout)

    assert Decimal(told["order"]["average_fill_price"]["value"]) == Decimal("61250.123456789012345678")
    assert told["order"]["prediction_id"] == "", "fields are there even when they are empty"


@pytest.mark.parametrize("quantity", ["-0.01", "1e3", "1_000", "1,5", "NaN", "", "0x10", "٣"])
def test_what_is_no_quantity_is_refused_before_anything_is_sent(edge: Edge, levimesh: Levimesh, quantity: str) -> None:
    result = levimesh("order", "buy", "BTC-USDT@simex", quantity)

    assert result.exit_code == 2
    assert "is not a positive number in plain digits" in complaint(result)
    assert edge.calls == []


def test_a_refused_order_is_one_clear_line(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["SubmitOrder"] = raising(InsufficientFunds("the order costs 612.50 USDT and 100 are free"))

    result = levimesh("order", "buy", "BTC-USDT@simex", "0.01")

    assert result.exit_code == 1
    assert result.stderr == "error: the order costs 612.50 USDT and 100 are free [INSUFFICIENT_FUNDS]\n"
    assert result.stdout == ""


def test_every_wrong_field_is_named(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["SubmitOrder"] = raising(FieldViolations({"symbol": "is unknown", "": "makes no sense"}))

    result = levimesh("order", "buy", "BTC-USDT@simex", "0.01")

    assert result.stderr == "error: symbol: is unknown; request: makes no sense [FIELD_VIOLATION]\n"


@pytest.mark.parametrize("code", [grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL])
def test_an_order_of_unknown_fate_names_the_id_to_repeat_it_with(
    edge: Edge, levimesh: Levimesh, code: grpc.StatusCode
) -> None:
    edge.answers["SubmitOrder"] = raising(Aborted(code, "who knows"))

    result = levimesh("order", "buy", "BTC-USDT@simex", "0.01")

    (call,) = edge.called("SubmitOrder")
    assert result.exit_code == 1
    assert "It is not known whether the order was placed." in result.stderr
    assert f"--id {call.request.client_order_id}: the same id is never placed twice" in result.stderr


def test_an_order_is_found_by_the_beginning_of_its_id(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["ListOrders"] = lambda _: pb.ListOrdersResponse(orders=[an_order(FIRST), an_order(SECOND)])
    edge.answers["CancelOrder"] = lambda request: pb.CancelOrderResponse(order=an_order(request.order_id))

    result = levimesh("order", "cancel", "0f6d1f0e…")

    assert result.exit_code == 0
    assert [call.request.order_id for call in edge.called("CancelOrder")] == [SECOND]


def test_a_whole_id_is_not_searched(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["GetOrder"] = lambda request: pb.GetOrderResponse(order=an_order(request.order_id))

    assert FIRST in levimesh("order", "show", FIRST).stdout

    assert edge.called("ListOrders") == []


@pytest.mark.parametrize(
    ("beginning", "problem"), [("0f6", "2 orders begin with '0f6'"), ("abc", "none of the newest orders has an id")]
)
def test_a_beginning_that_names_no_single_order_cancels_nothing(
    edge: Edge, levimesh: Levimesh, beginning: str, problem: str
) -> None:
    edge.answers["ListOrders"] = lambda _: pb.ListOrdersResponse(orders=[an_order(FIRST), an_order(SECOND)])

    result = levimesh("order", "cancel", beginning)

    assert result.exit_code == 2
    assert problem in complaint(result)
    assert edge.called("CancelOrder") == []


def test_no_id_at_all_is_not_the_beginning_of_the_only_order(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["ListOrders"] = lambda _: pb.ListOrdersResponse(orders=[an_order(FIRST)])

    result = levimesh("order", "cancel", "")

    assert result.exit_code == 2
    assert "it is empty" in complaint(result)
    assert edge.called("CancelOrder") == []


def test_the_list_of_orders_says_where_each_stands(edge: Edge, levimesh: Levimesh) -> None:
    resting = an_order(FIRST, limit_price=WireDecimal(value="60000.00"), status=order_pb2.ORDER_STATUS_OPEN)
    partly = an_order(
        SECOND,
        status=order_pb2.ORDER_STATUS_PARTIALLY_FILLED,
        filled_quantity=WireDecimal(value="0.020"),
        average_fill_price=WireDecimal(value="61250.123456789012345678"),
    )
    edge.answers["ListOrders"] = lambda _: pb.ListOrdersResponse(orders=[resting, partly])

    result = levimesh("orders", "--open", "--limit", "7")

    (call,) = edge.called("ListOrders")
    assert (call.request.open_only, call.request.page_size) == (True, 7)
    first, second = result.stdout.splitlines()[-2:]
    assert "limit 60000  open" in first
    assert FIRST in first
    assert "61250.12  0.02 filled" in second


def test_fills_show_the_fee_and_what_it_was_paid_as(edge: Edge, levimesh: Levimesh) -> None:
    fill = order_pb2.Fill(
        order_id=FIRST,
        symbol="BTC-USDT@simex",
        side=order_pb2.SIDE_SELL,
        price=WireDecimal(value="61250.10"),
        quantity=WireDecimal(value="0.01000"),
        fee=WireDecimal(value="0.91875150"),
        liquidity=order_pb2.LIQUIDITY_TAKER,
    )
    edge.answers["ListFills"] = lambda _: pb.ListFillsResponse(fills=[fill])

    line = levimesh("fills").stdout.splitlines()[-1]

    assert line.split()[-7:] == ["BTC-USDT@simex", "SELL", "0.01", "61250.1", "0.9187515", "taker", FIRST]
