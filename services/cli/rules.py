"""``levimesh limits`` and ``policy``: what one may do, and how often."""

from collections.abc import Sequence
from typing import Annotated

import typer

from levimesh.auth.v1 import policy_service_pb2 as pb
from levimesh.client import Client
from levimesh.policy.v1 import policy_pb2
from services.cli.display import console, roles, seconds, show, table, tier
from services.cli.parameters import Json
from services.cli.session import print_json, run

app = typer.Typer()

Filter = Annotated[str, typer.Argument(help="Only methods whose path holds this, in any case.")]


@app.command()
def limits(only: Filter = "", *, json: Json = False) -> None:
    """Show how often you may call each method, and what is left where that is counted for all gateways together."""

    async def command(mesh: Client) -> None:
        response = await mesh.policy.GetLimits(pb.GetLimitsRequest())
        shown = [each for each in response.limits if only.lower() in each.method.lower()]
        if json:
            print_json(pb.GetLimitsResponse(tier=response.tier, limits=shown))
            return
        rows = table(
            f"Limits ({tier(response.tier)})", "method", "calls", "per", "left", "more in", numbers={"calls", "left"}
        )
        for each in shown:
            left = str(each.remaining) if each.HasField("remaining") else ""
            rows.add_row(_short(each.method), str(each.calls), seconds(each.per), left, seconds(each.reset_in))
        show(rows)
        _say_if_none(response.limits, shown, only)

    run(command)


@app.command()
def policy(only: Filter = "", *, json: Json = False) -> None:
    """Show who may call each method, and what holds for its calls (admins only)."""

    async def command(mesh: Client) -> None:
        response = await mesh.policy.GetPolicy(pb.GetPolicyRequest())
        shown = [each for each in response.methods if only.lower() in each.method.lower()]
        if json:
            print_json(pb.GetPolicyResponse(methods=shown))
            return
        columns = ("method", "users", "scopes", "services", "deadline", "calls", "again", "audit")
        rows = table("Policy", *columns, shrinking="services")
        for each in shown:
            rows.add_row(_short(each.method), *_cells(each.policy))
        show(rows)
        _say_if_none(response.methods, shown, only)

    run(command)


def _say_if_none(known: Sequence[object], shown: Sequence[object], only: str) -> None:
    if not known:
        console.print("there are no limits here")
    elif not shown:
        console.print(f"no method's path holds {only}")


def _cells(policy: policy_pb2.MethodPolicy) -> tuple[str, ...]:
    again = policy_pb2.Idempotency.Name(policy.idempotency).removeprefix("IDEMPOTENCY_").lower().replace("_", " ")
    return (
        "anybody" if policy.public else roles(policy.roles),
        ", ".join(policy.scopes),
        ", ".join(policy.service_callers),
        seconds(policy.deadline),
        f"{policy.rate_limit.calls} / {seconds(policy.rate_limit.per)}" if policy.HasField("rate_limit") else "",
        again,
        "yes" if policy.audit else "",
    )


def _short(method: str) -> str:
    """``/levimesh.trading.v1.TradingService/SubmitOrder`` without the package."""
    return method.rpartition(".")[2]
