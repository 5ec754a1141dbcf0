"""``levimesh md symbols`` and what changes them: which markets are followed, and by which rules."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from levimesh.client import Client
from levimesh.marketdata.v1 import marketdata_service_pb2, symbol_pb2
from levimesh.marketdata.v1 import symbol_service_pb2 as pb
from services.cli.display import console, number, record, show, table, when
from services.cli.md.names import spelled
from services.cli.parameters import Json, Symbol, decimal, invalid
from services.cli.session import print_json, run

app = typer.Typer()


class State(StrEnum):
    """The state of a symbol as the command line spells it."""

    active = "active"
    inactive = "inactive"

    @property
    def wire(self) -> "symbol_pb2.SymbolState.ValueType":
        """As the contracts spell it."""
        return symbol_pb2.SymbolState.Value(f"SYMBOL_STATE_{self.upper()}")


PriceStep = Annotated[str, typer.Option(help="The smallest difference between two prices.")]
QuantityStep = Annotated[str, typer.Option(help="The smallest difference between two quantities.")]
MinNotional = Annotated[str, typer.Option(help="The smallest price times quantity of an order.")]
MinQuantity = Annotated[str, typer.Option(help="The smallest quantity of an order.")]
MaxQuantity = Annotated[str, typer.Option(help="The largest quantity of an order.")]
BookDepth = Annotated[
    int | None, typer.Option(help="Levels of each side of the order book; 0 for none.", min=0, max=1000)
]
SourceSymbol = Annotated[str, typer.Option(help="The name that the source has for it, where it is not plain.")]


@app.command()
def symbols(
    source: Annotated[str, typer.Option(help="Only those of this source.")] = "",
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    *,
    json: Json = False,
) -> None:
    """List the symbols with their rules and states."""
    request = marketdata_service_pb2.ListSymbolsRequest(source=source)
    if state is not None:
        request.state = state.wire

    async def command(mesh: Client) -> None:
        response = await mesh.marketdata.ListSymbols(request)
        if json:
            print_json(response)
            return
        figures = ("price step", "quantity step", "min notional", "book", "version")
        shown = table("Symbols", "symbol", "asset", "state", *figures, numbers=figures)
        for each in response.symbols:
            rules = (number(each.price_step), number(each.quantity_step), number(each.min_notional))
            kind = spelled(symbol_pb2.AssetType.Name, each.asset_type)
            state = spelled(symbol_pb2.SymbolState.Name, each.state)
            shown.add_row(each.symbol, kind, state, *rules, str(each.book_depth or ""), str(each.version))
        show(shown)

    run(command)


@app.command()
def add(
    symbol: Symbol,
    source_symbol: SourceSymbol = "",
    price_step: PriceStep = "",
    quantity_step: QuantityStep = "",
    min_notional: MinNotional = "",
    min_quantity: MinQuantity = "",
    max_quantity: MaxQuantity = "",
    book_depth: BookDepth = None,
    *,
    json: Json = False,
) -> None:
    """Follow a market of a source; what is not given is taken from the source. For admins."""
    request = pb.CreateSymbolRequest(symbol=symbol, source_symbol=source_symbol, book_depth=book_depth)
    _fill(request, price_step, quantity_step, min_notional, min_quantity, max_quantity)

    async def command(mesh: Client) -> None:
        _tell(await mesh.symbols.CreateSymbol(request), json=json)

    run(command)


@app.command()
def change(
    symbol: Symbol,
    price_step: PriceStep = "",
    quantity_step: QuantityStep = "",
    min_notional: MinNotional = "",
    min_quantity: MinQuantity = "",
    max_quantity: MaxQuantity = "",
    book_depth: BookDepth = None,
    *,
    json: Json = False,
) -> None:
    """Change the rules of a symbol, all at one moment. For admins."""
    request = pb.UpdateSymbolRequest(symbol=symbol, book_depth=book_depth)
    named = _fill(request, price_step, quantity_step, min_notional, min_quantity, max_quantity)
    request.update_mask.paths.extend([*named, *(["book_depth"] if book_depth is not None else [])])
    if not request.update_mask.paths:
        raise invalid("--price-step", "say what is to change, for example --price-step 0.01 or --book-depth 20")

    async def command(mesh: Client) -> None:
        _tell(await mesh.symbols.UpdateSymbol(request), json=json)

    run(command)


@app.command()
def activate(symbol: Symbol, *, json: Json = False) -> None:
    """Gather the data of a symbol again. For admins."""

    async def command(mesh: Client) -> None:
        _tell(await mesh.symbols.ActivateSymbol(pb.ActivateSymbolRequest(symbol=symbol)), json=json)

    run(command)


@app.command()
def deactivate(symbol: Symbol, *, json: Json = False) -> None:
    """Gather nothing new of a symbol; what is stored stays. For admins."""

    async def command(mesh: Client) -> None:
        _tell(await mesh.symbols.DeactivateSymbol(pb.DeactivateSymbolRequest(symbol=symbol)), json=json)

    run(command)


@app.command()
def delete(symbol: Symbol) -> None:
    """Forget a symbol that is not active. For admins."""

    async def command(mesh: Client) -> None:
        await mesh.symbols.DeleteSymbol(pb.DeleteSymbolRequest(symbol=symbol))
        console.print(f"{symbol} is forgotten.")

    run(command)


def _fill(request: Any, *rules: str) -> list[str]:
    """Put what was given into ``request``; the names of its fields."""
    names = ("price_step", "quantity_step", "min_notional", "min_quantity", "max_quantity")
    given = {name: text for name, text in zip(names, rules, strict=True) if text}
    for name, text in given.items():
        getattr(request, name).CopyFrom(decimal(f"--{name.replace('_', '-')}", text))
    return list(given)


def _tell(response: Any, *, json: bool) -> None:
    if json:
        print_json(response)
        return
    told: symbol_pb2.Symbol = response.symbol
    most = number(told.max_quantity)
    console.print(
        record(
            ("symbol", told.symbol),
            ("source", f"{told.source} ({told.source_symbol})"),
            ("state", spelled(symbol_pb2.SymbolState.Name, told.state)),
            ("price step", number(told.price_step)),
            ("quantity step", number(told.quantity_step)),
            ("quantity", f"{number(told.min_quantity) or '0'} to {most}" if most else number(told.min_quantity)),
            ("min notional", number(told.min_notional)),
            ("book", f"{told.book_depth} levels" if told.book_depth else "not followed"),
            ("version", f"{told.version}, since {when(told.update_time)} UTC"),
        )
    )
