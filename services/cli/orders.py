"""``levimesh order …``, ``orders`` and ``fills``."""

import uuid
from typing import Annotated

import grpc
import typer
from rich.table import Table
from rich.text import Text

from levimesh.client import Client, explain
from levimesh.trading.v1 import order_pb2
from levimesh.trading.v1 import trading_service_pb2 as pb
from services.cli.display import console, lately, number, price, record, rounded, show, side, status, table, when
from services.cli.parameters import Json, Limit, Symbol, decimal, invalid
from services.cli.session import fail, print_json, run

app = typer.Typer()
order = typer.Typer(name="order", help="Place, show and cancel orders.", no_args_is_help=True)
app.add_typer(order)

Quantity = Annotated[str, typer.Argument(help="How much of the base asset, such as 0.05.")]
LimitPrice = Annotated[str, typer.Option("--limit", help="The worst price; without it the order is a market order.")]
ClientOrderId = Annotated[str, typer.Option("--id", help="Your own id: the same id is never placed twice.")]
OrderId = Annotated[str, typer.Argument(help="The order's id, or as much of its beginning as names only one order.")]

_OPEN_OUTCOMES = {
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
}
"""After these it is not known whether the order was placed."""
_WHOLE_ID = 36
_SEARCHED = 1000

# A negative quantity is not taken for an option, but refused as what it is.
_NUMBERS = {"ignore_unknown_options": True}


@order.command(context_settings=_NUMBERS)
def buy(
    symbol: Symbol,
    quantity: Quantity,
    limit: LimitPrice = "",
    client_order_id: ClientOrderId = "",
    *,
    json: Json = False,
) -> None:
    """Buy, at the market's price or at a limit."""
    _submit(order_pb2.SIDE_BUY, symbol, quantity, limit, client_order_id, json=json)


@order.command(context_settings=_NUMBERS)
def sell(
    symbol: Symbol,
    quantity: Quantity,
    limit: LimitPrice = "",
    client_order_id: ClientOrderId = "",
    *,
    json: Json = False,
) -> None:
    """Sell, at the market's price or at a limit."""
    _submit(order_pb2.SIDE_SELL, symbol, quantity, limit, client_order_id, json=json)


@order.command(name="show")
def show_order(order_id: OrderId, *, json: Json = False) -> None:
    """Show one order."""

    async def command(mesh: Client) -> None:
        response = await mesh.trading.GetOrder(pb.GetOrderRequest(order_id=await _whole_id(mesh, order_id)))
        if json:
            print_json(response)
        else:
            console.print(_record(response.order))

    run(command)


@order.command()
def cancel(order_id: OrderId, *, json: Json = False) -> None:
    """Cancel what has not filled of an order."""

    async def command(mesh: Client) -> None:
        response = await mesh.trading.CancelOrder(pb.CancelOrderRequest(order_id=await _whole_id(mesh, order_id)))
        if json:
            print_json(response)
        else:
            console.print(_record(response.order))

    run(command)


@app.command()
def orders(
    limit: Limit = 20,
    *,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that can still fill.")] = False,
    json: Json = False,
) -> None:
    """List the orders of the account, the newest first."""

    async def command(mesh: Client) -> None:
        response = await mesh.trading.ListOrders(pb.ListOrdersRequest(page_size=limit, open_only=open_only))
        if json:
            print_json(response)
            return
        figures = ("quantity", "price")
        columns = ("time (UTC)", "symbol", "side", *figures, "status", "order")
        shown = table("Orders", *columns, numbers=figures, shrinking="order")
        for each in response.orders:
            values = (number(each.quantity), price(each), status(each), each.order_id)
            shown.add_row(lately(each.create_time), each.symbol, side(each.side), *values)
        show(shown)

    run(command)


@app.command()
def fills(limit: Limit = 20, *, json: Json = False) -> None:
    """List the fills of the account, the newest first."""

    async def command(mesh: Client) -> None:
        response = await mesh.trading.ListFills(pb.ListFillsRequest(page_size=limit))
        if json:
            print_json(response)
            return
        figures = ("quantity", "price", "fee")
        columns = ("time (UTC)", "symbol", "side", *figures, "as", "order")
        shown = table("Fills", *columns, numbers=figures, shrinking="order")
        for each in response.fills:
            liquidity = order_pb2.Liquidity.Name(each.liquidity).removeprefix("LIQUIDITY_").lower()
            values = (number(each.quantity), number(each.price), rounded(each.fee), liquidity, each.order_id)
            shown.add_row(lately(each.fill_time), each.symbol, side(each.side), *values)
        show(shown)

    run(command)


def _submit(
    which: "order_pb2.Side.ValueType", symbol: str, quantity: str, limit: str, client_order_id: str, *, json: bool
) -> None:
    request = pb.SubmitOrderRequest(
        client_order_id=client_order_id or f"cli-{uuid.uuid4()}",
        symbol=symbol,
        side=which,
        type=order_pb2.ORDER_TYPE_LIMIT if limit else order_pb2.ORDER_TYPE_MARKET,
        quantity=decimal("QUANTITY", quantity),
        limit_price=decimal("--limit", limit) if limit else None,
    )

    async def command(mesh: Client) -> None:
        try:
            response = await mesh.trading.SubmitOrder(request)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _OPEN_OUTCOMES:
                raise
            fail(
                f"{explain(error)}\nIt is not known whether the order was placed. Repeat the command with "
                f"--id {request.client_order_id}: the same id is never placed twice."
            )
        if json:
            print_json(response)
        else:
            console.print(_record(response.order))

    run(command)


async def _whole_id(mesh: Client, beginning: str) -> str:
    """The id of the only one among the newest orders whose id begins so, as the narrow tables show it."""
    beginning = beginning.rstrip("…").lower()
    if len(beginning) >= _WHOLE_ID:
        return beginning
    if not beginning:
        raise invalid("ORDER_ID", "it is empty")
    newest = await mesh.trading.ListOrders(pb.ListOrdersRequest(page_size=_SEARCHED))
    found = [each.order_id for each in newest.orders if each.order_id.startswith(beginning)]
    if len(found) != 1:
        problem = "none of the newest orders has an id that begins" if not found else f"{len(found)} orders begin"
        raise invalid("ORDER_ID", f"{problem} with {beginning!r}")
    return found[0]


def _record(shown: order_pb2.Order) -> Table:
    """One order, with exact figures."""
    quote = shown.symbol.partition("@")[0].rpartition("-")[2]
    limit = f"at {number(shown.limit_price)} or better" if shown.HasField("limit_price") else "at the market's price"
    filled = f"{number(shown.filled_quantity)} at {number(shown.average_fill_price)}"
    return record(
        ("order", shown.order_id),
        ("placed", Text.assemble(side(shown.side), f" {number(shown.quantity)} {shown.symbol} {limit}")),
        ("status", status(shown)),
        ("filled", filled if shown.HasField("average_fill_price") else ""),
        ("fee", f"{number(shown.fee)} {quote}" if shown.HasField("average_fill_price") else ""),
        ("your id", shown.client_order_id),
        ("strategy", shown.strategy),
        ("prediction", shown.prediction_id),
        ("created", f"{when(shown.create_time)} UTC"),
        ("changed", f"{when(shown.update_time)} UTC"),
    )
