"""``levimesh watch``: prices, signals and orders as they happen."""

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated

import grpc
import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from levimesh.auth.v1 import user_service_pb2
from levimesh.client import Client
from levimesh.marketdata.v1 import marketdata_service_pb2 as market_pb
from levimesh.marketdata.v1 import trade_pb2
from levimesh.prediction.v1 import prediction_pb2
from levimesh.trading.v1 import order_pb2
from levimesh.trading.v1 import trading_service_pb2 as trading_pb
from services.cli.display import console, direction, lately, number, price, side, status, table, when
from services.cli.session import run

app = typer.Typer()

_ROWS = 8
_SILENT_SECONDS = 5


@dataclass
class Board:
    """The newest of everything that the streams have told."""

    trades: dict[str, trade_pb2.Trade] = field(default_factory=dict)
    moves: dict[str, Decimal] = field(default_factory=dict)
    signals: "deque[prediction_pb2.Signal]" = field(default_factory=lambda: deque(maxlen=_ROWS))
    orders: "deque[order_pb2.Order]" = field(default_factory=lambda: deque(maxlen=_ROWS))
    heard_at: float = field(default_factory=time.monotonic)
    """When the last trade was heard of."""

    async def follow(self, mesh: Client) -> None:
        """Keep the board current until cancelled. Raises an ExceptionGroup of what the streams raise."""
        async with asyncio.TaskGroup() as streams:
            streams.create_task(self._begin(mesh))
            streams.create_task(self._follow_trades(mesh))
            streams.create_task(self._follow_signals(mesh))
            streams.create_task(self._follow_orders(mesh))

    async def _begin(self, mesh: Client) -> None:
        """Show what was newest before: a quiet market would leave the board empty for a while."""
        for symbol in (await mesh.marketdata.ListSymbols(market_pb.ListSymbolsRequest())).symbols:
            with suppress(grpc.aio.AioRpcError):  # it has not traded yet
                known = (await mesh.marketdata.GetTicker(market_pb.GetTickerRequest(symbol=symbol.symbol))).ticker
                self._take(
                    trade_pb2.Trade(
                        symbol=known.symbol,
                        price=known.last_price,
                        quantity=known.last_quantity,
                        trade_time=known.last_trade_time,
                    )
                )
        if not self.orders:
            self.orders.extend((await mesh.trading.ListOrders(trading_pb.ListOrdersRequest(page_size=_ROWS))).orders)

    def _take(self, trade: trade_pb2.Trade) -> None:
        before = self.trades.get(trade.symbol, trade)
        if trade.trade_time.ToNanoseconds() >= before.trade_time.ToNanoseconds():
            self.moves[trade.symbol] = Decimal(trade.price.value) - Decimal(before.price.value)
            self.trades[trade.symbol] = trade

    async def _follow_trades(self, mesh: Client) -> None:
        # A reader that shows the newest loses nothing by a gap; nor do the others, whose rows are only examples.
        async for trade in mesh.trades(on_gap=lambda _: None):
            self._take(trade)
            self.heard_at = time.monotonic()

    async def _follow_signals(self, mesh: Client) -> None:
        async for signal in mesh.signals(on_gap=lambda _: None):
            self.signals.appendleft(signal)

    async def _follow_orders(self, mesh: Client) -> None:
        async for order in mesh.orders(on_gap=lambda _: None):
            self.orders.appendleft(order)

    def __rich__(self) -> RenderableType:
        return Group(self._prices(), self._signals(), self._orders())

    def _prices(self) -> RenderableType:
        shown = table("Prices", "symbol", "price", "quantity", "time (UTC)", numbers=("price", "quantity"))
        for symbol, trade in sorted(self.trades.items()):
            move = self.moves[symbol]
            newest = Text(number(trade.price), style="green" if move > 0 else "red" if move < 0 else "")
            shown.add_row(symbol, newest, number(trade.quantity), when(trade.trade_time))
        if (silent := time.monotonic() - self.heard_at) > _SILENT_SECONDS:
            shown.caption = f"no trade for {silent:.0f} s"
        return shown

    def _signals(self) -> RenderableType:
        shown = table("Signals", "candle (UTC)", "symbol", "direction", "P(up)", "close", numbers=("P(up)", "close"))
        for signal in self.signals:
            said = signal.prediction
            probability = f"{said.probability_up:.4f}"
            closed = when(said.candle_close_time)
            shown.add_row(closed, said.symbol, direction(said.direction), probability, number(said.close))
        return shown

    def _orders(self) -> RenderableType:
        figures = ("quantity", "price")
        columns = ("time (UTC)", "symbol", "side", *figures, "status", "placed by")
        shown = table("Orders", *columns, numbers=figures, shrinking="placed by")
        for each in self.orders:
            values = (number(each.quantity), price(each), status(each), each.strategy or each.client_order_id)
            shown.add_row(lately(each.update_time), each.symbol, side(each.side), *values)
        return shown


@app.command()
def watch(
    seconds: Annotated[float, typer.Option("--for", help="Stop after so many seconds; 0 means at Ctrl-C.", min=0)] = 0,
) -> None:
    """Watch prices, signals and the account's orders as they happen."""

    async def command(mesh: Client) -> None:
        await mesh.users.GetCurrentUser(
            user_service_pb2.GetCurrentUserRequest()
        )  # a wrong gateway is no reason to wait
        board = Board()
        with Live(board, console=console, refresh_per_second=4):
            try:
                async with asyncio.timeout(seconds or None):
                    await board.follow(mesh)
            except TimeoutError:
                return

    run(command)
