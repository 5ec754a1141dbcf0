"""``levimesh md watch``: tickers and order books as they change."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from levimesh.client import Client
from levimesh.common.v1 import streaming_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import stream_pb2, symbol_pb2, trade_pb2
from services.cli.display import console, lately, number, table
from services.cli.md.names import spelled
from services.cli.parameters import Symbols
from services.cli.session import fail, run

app = typer.Typer()


@dataclass
class _Board:
    """The newest ticker of each symbol, and what the stream could not give."""

    tickers: dict[str, trade_pb2.Ticker] = field(default_factory=dict)
    moves: dict[str, Decimal] = field(default_factory=dict)
    lost: int = 0
    """Gaps told by the stream."""

    def miss(self, _: streaming_pb2.Gap) -> None:
        """The stream could not give everything."""
        self.lost += 1

    def take(self, message: pb.StreamMarketDataResponse) -> None:
        """Take in a message of the stream."""
        for result in message.results.results:
            if result.status != stream_pb2.SUBSCRIPTION_STATUS_SUBSCRIBED:
                fail(f"{result.instrument.symbol}: {spelled(stream_pb2.SubscriptionStatus.Name, result.status)}")
        for ticker in message.tickers.tickers:
            before = self.tickers.get(ticker.symbol, ticker)
            self.moves[ticker.symbol] = Decimal(ticker.last_price.value) - Decimal(before.last_price.value)
            self.tickers[ticker.symbol] = ticker

    def __rich__(self) -> RenderableType:
        figures = ("price", "quantity", "low 24h", "high 24h", "volume 24h")
        shown = table("Tickers", "symbol", *figures, "time (UTC)", numbers=figures)
        for symbol, ticker in sorted(self.tickers.items()):
            move = self.moves[symbol]
            price = Text(number(ticker.last_price), style="green" if move > 0 else "red" if move < 0 else "")
            day = (number(ticker.low_24h), number(ticker.high_24h), number(ticker.volume_24h))
            shown.add_row(symbol, price, number(ticker.last_quantity), *day, lately(ticker.last_trade_time))
        if self.lost:
            shown.caption = f"{self.lost} times the stream could not give everything"
        return shown


@app.command()
def watch(
    symbols: Symbols = None,
    seconds: Annotated[float, typer.Option("--for", help="Stop after so many seconds; 0 means at Ctrl-C.", min=0)] = 0,
) -> None:
    """Watch the tickers of symbols, of all active ones without any, as they change."""

    async def command(mesh: Client) -> None:
        wanted = symbols or [each.symbol for each in (await _active(mesh)).symbols]
        if not wanted:
            fail("no symbol is active; `levimesh md symbols` lists them all")
        board = _Board()
        tickers = [stream_pb2.Instrument(channel=stream_pb2.CHANNEL_TICKERS, symbol=symbol) for symbol in wanted]
        with Live(board, console=console, refresh_per_second=4), suppress(TimeoutError):
            async with asyncio.timeout(seconds or None):
                async for message in mesh.market_data(tickers, on_gap=board.miss):
                    board.take(message)

    run(command)


async def _active(mesh: Client) -> pb.ListSymbolsResponse:
    return await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest(state=symbol_pb2.SYMBOL_STATE_ACTIVE))
