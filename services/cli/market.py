"""Reading the market: symbols, prices, candles, predictions, models, signals."""

from typing import Annotated

import typer

from levimesh.auth.v1 import user_service_pb2
from levimesh.client import Client
from levimesh.marketdata.v1 import candle_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.prediction.v1 import prediction_service_pb2 as prediction_pb
from services.cli.display import console, direction, number, record, show, table, when
from services.cli.md.names import Interval
from services.cli.parameters import Json, Symbol, Symbols, moment
from services.cli.session import print_json, run

app = typer.Typer()


@app.command()
def symbols(*, json: Json = False) -> None:
    """List the symbols."""

    async def command(mesh: Client) -> None:
        response = await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())
        if json:
            print_json(response)
            return
        steps = ("price step", "quantity step", "min notional")
        shown = table("Symbols", "symbol", "source", *steps, numbers=steps)
        for each in response.symbols:
            limits = (number(each.price_step), number(each.quantity_step), number(each.min_notional))
            shown.add_row(each.symbol, f"{each.source} ({each.source_symbol})", *limits)
        show(shown)

    run(command)


@app.command()
def ticker(symbol: Symbol, *, json: Json = False) -> None:
    """Show the newest price of a symbol."""

    async def command(mesh: Client) -> None:
        response = await mesh.marketdata.GetTicker(pb.GetTickerRequest(symbol=symbol))
        if json:
            print_json(response)
            return
        told = response.ticker
        console.print(
            record(
                ("symbol", told.symbol),
                ("price", f"{number(told.last_price)} at {when(told.last_trade_time)} UTC"),
                ("24 hours", f"{number(told.low_24h)} to {number(told.high_24h)}, open {number(told.open_24h)}"),
                ("volume", number(told.volume_24h)),
            )
        )

    run(command)


@app.command()
def candles(
    symbol: Symbol,
    interval: Annotated[Interval, typer.Option(help="The length of a candle.")] = Interval.five_minutes,
    limit: Annotated[
        int, typer.Option(help="How many: the newest, or the first after --start.", min=1, max=10_000)
    ] = 20,
    start: Annotated[str, typer.Option(help="From this UTC time on, such as 2024-08-08T23:55.")] = "",
    end: Annotated[str, typer.Option(help="Before this UTC time.")] = "",
    *,
    json: Json = False,
) -> None:
    """Show complete candles of a symbol, the newest by default."""
    request = pb.GetCandlesRequest(symbol=symbol, interval=interval.wire, page_size=limit)
    if start:
        request.start_time.CopyFrom(moment("--start", start))
    if end:
        request.end_time.CopyFrom(moment("--end", end))

    async def command(mesh: Client) -> None:
        response = await mesh.marketdata.GetCandles(request)
        if json:
            print_json(response)
            return
        prices = ("open", "high", "low", "close", "volume")
        shown = table(f"{symbol} {interval}", "open time (UTC)", *prices, "origin", numbers=prices)
        for each in response.candles:
            values = (number(value) for value in (each.open, each.high, each.low, each.close, each.volume))
            origin = candle_pb2.CandleOrigin.Name(each.origin).removeprefix("CANDLE_ORIGIN_").lower()
            shown.add_row(when(each.open_time), *values, origin)
        show(shown)

    run(command)


@app.command()
def predict(symbol: Symbol, *, json: Json = False) -> None:
    """Ask where a symbol goes from its newest complete candle."""

    async def command(mesh: Client) -> None:
        response = await mesh.prediction.Predict(prediction_pb.PredictRequest(symbol=symbol))
        if json:
            print_json(response)
            return
        said = response.prediction
        minutes = said.horizon.seconds // 60
        console.print(
            record(
                ("symbol", said.symbol),
                ("direction", direction(said.direction)),
                ("P(up)", f"{said.probability_up:.4f} in {minutes} minutes"),
                ("from", f"{number(said.close)} at {when(said.candle_close_time)} UTC"),
                ("model", said.model_version),
                ("prediction", said.prediction_id),
            )
        )

    run(command)


@app.command()
def signals(symbols: Symbols = None) -> None:
    """Print signals as they come, until Ctrl-C."""

    async def command(mesh: Client) -> None:
        await mesh.users.GetCurrentUser(
            user_service_pb2.GetCurrentUserRequest()
        )  # a wrong gateway is no reason to wait
        async for signal in mesh.signals(symbols or (), on_gap=lambda _: console.print("(signals were lost)")):
            said = signal.prediction
            at = f"P(up) {said.probability_up:.4f} at {number(said.close)}"
            console.print(when(said.candle_close_time), said.symbol, direction(said.direction), at)

    run(command)
