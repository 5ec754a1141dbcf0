"""``levimesh portfolio`` and ``strategy …``: what the account owns, and who trades for it."""

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.text import Text

from levimesh.client import Client
from levimesh.trading.v1 import portfolio_pb2, strategy_pb2
from levimesh.trading.v1 import trading_service_pb2 as pb
from services.cli.display import console, gain, money, number, record, show, table, when
from services.cli.parameters import Json
from services.cli.session import print_json, run

app = typer.Typer()
strategy = typer.Typer(name="strategy", help="List, start and stop strategies.", no_args_is_help=True)
app.add_typer(strategy)

Name = Annotated[str, typer.Argument(help="The strategy; `levimesh strategy list` lists them.")]


@app.command()
def portfolio(*, json: Json = False) -> None:
    """Show what the account owns and what it is worth."""

    async def command(mesh: Client) -> None:
        response = await mesh.trading.GetPortfolio(pb.GetPortfolioRequest())
        if json:
            print_json(response)
        else:
            _show_portfolio(response.portfolio)

    run(command)


@strategy.command(name="list")
def list_strategies(*, json: Json = False) -> None:
    """List the strategies and whether they run."""

    async def command(mesh: Client) -> None:
        response = await mesh.trading.ListStrategies(pb.ListStrategiesRequest())
        if json:
            print_json(response)
        else:
            _show_strategies(response.strategies)

    run(command)


@strategy.command()
def start(name: Name) -> None:
    """Let a strategy trade for the account."""

    async def command(mesh: Client) -> None:
        _show_strategies([(await mesh.trading.StartStrategy(pb.StartStrategyRequest(strategy=name))).strategy])

    run(command)


@strategy.command()
def stop(name: Name) -> None:
    """Stop a strategy; its open orders stay."""

    async def command(mesh: Client) -> None:
        _show_strategies([(await mesh.trading.StopStrategy(pb.StopStrategyRequest(strategy=name))).strategy])

    run(command)


def _show_portfolio(owned: portfolio_pb2.Portfolio) -> None:
    profit = Text.assemble(gain(owned.realized_pnl), " realized, ", gain(owned.unrealized_pnl), " unrealized")
    console.print(
        record(
            ("Equity", Text(f"{money(owned.equity)} {owned.currency}", style="bold")),
            ("cash", f"{money(owned.cash)}, of {money(owned.initial_cash)} at the start"),
            ("profit", profit),
            ("fees", money(owned.fees_paid)),
        )
    )
    figures = ("quantity", "price", "value", "cost", "unrealized", "realized")
    shown = table("Positions", "symbol", *figures, numbers=figures)
    for each in owned.positions:
        values = (number(each.quantity), number(each.last_price), money(each.market_value), money(each.cost))
        shown.add_row(each.symbol, *values, gain(each.unrealized_pnl), gain(each.realized_pnl))
    console.print()
    if owned.positions:
        show(shown)
    else:
        console.print("No positions.")


def _show_strategies(shown: "Iterable[strategy_pb2.Strategy]") -> None:
    rows = table("Strategies", "strategy", "state", "since (UTC)", "what it does", shrinking="what it does")
    for each in shown:
        state = strategy_pb2.StrategyState.Name(each.state).removeprefix("STRATEGY_STATE_").lower()
        rows.add_row(each.strategy, state, when(each.update_time), each.description)
    show(rows)
