"""``levimesh md quarantine`` and ``replay``: rows that broke a rule."""

from enum import StrEnum
from typing import Annotated

import typer

from levimesh.client import Client
from levimesh.marketdata.v1 import quality_pb2
from levimesh.marketdata.v1 import quality_service_pb2 as pb
from services.cli.display import console, lately, show, table
from services.cli.md.names import spelled
from services.cli.parameters import Json, Limit
from services.cli.session import print_json, run

app = typer.Typer()


class Reason(StrEnum):
    """A rule as the command line spells it."""

    malformed = "malformed"
    price = "price"
    quantity = "quantity"
    future = "future"
    too_old = "too-old"
    candle_range = "candle-range"
    unknown_symbol = "unknown-symbol"
    out_of_order = "out-of-order"
    conflict = "conflict"
    precision = "precision"

    @property
    def wire(self) -> "quality_pb2.QuarantineReason.ValueType":
        """As the contracts spell it."""
        return quality_pb2.QuarantineReason.Value(f"QUARANTINE_REASON_{self.name.upper()}")


@app.command()
def quarantine(
    source: Annotated[str, typer.Option(help="Only rows of this source.")] = "",
    symbol: Annotated[str, typer.Option(help="Only rows of this symbol.")] = "",
    reason: Annotated[Reason | None, typer.Option(help="Only rows that broke this rule.")] = None,
    limit: Limit = 50,
    *,
    replayed: Annotated[bool, typer.Option(help="List those that were taken in after all too.")] = False,
    json: Json = False,
) -> None:
    """List rows that broke a rule, the newest first."""
    request = pb.ListQuarantinedRowsRequest(source=source, symbol=symbol, include_replayed=replayed, page_size=limit)
    if reason is not None:
        request.reason = reason.wire

    async def command(mesh: Client) -> None:
        response = await mesh.quality.ListQuarantinedRows(request)
        if json:
            print_json(response)
            return
        shown = table("Quarantine", "row", "came (UTC)", "symbol", "reason", "detail", "raw", shrinking="raw")
        for row in response.rows:
            why = spelled(quality_pb2.QuarantineReason.Name, row.reason)
            where = row.symbol or row.source
            shown.add_row(str(row.row_id), lately(row.receive_time), where, why, row.detail, row.raw)
        show(shown)

    run(command)


@app.command()
def replay(rows: Annotated[list[int], typer.Argument(help="Numbers of rows that quarantine lists.", min=1)]) -> None:
    """Judge rows again, and take in those that break no rule any more. For admins."""

    async def command(mesh: Client) -> None:
        response = await mesh.quality.ReplayQuarantinedRows(pb.ReplayQuarantinedRowsRequest(row_ids=rows))
        console.print(f"{len(response.taken_in)} of {len(rows)} rows are taken in.")
        for row in response.refused:
            why = spelled(quality_pb2.QuarantineReason.Name, row.reason)
            console.print(f"row {row.row_id} stays: {why}, {row.detail}", soft_wrap=True)
        for row_id in response.not_found:
            console.print(f"there is no row {row_id}")

    run(command)
