"""``levimesh md gaps``, ``backfill``, ``backfills`` and ``verify``: what is missing, and getting it."""

import asyncio
import uuid
from datetime import UTC
from enum import StrEnum
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from levimesh.client import Client
from levimesh.marketdata.v1 import candle_pb2, quality_pb2, stream_pb2
from levimesh.marketdata.v1 import quality_service_pb2 as pb
from services.cli.display import console, lately, number, record, show, table, when
from services.cli.md.names import Interval, spelled
from services.cli.parameters import Json, Limit, Symbol, invalid, moment
from services.cli.session import fail, print_json, run

app = typer.Typer()

_POLL_SECONDS = 0.5
_OVER = (
    quality_pb2.BACKFILL_STATE_DONE,
    quality_pb2.BACKFILL_STATE_FAILED,
    quality_pb2.BACKFILL_STATE_CANCELLED,
)
SymbolOption = Annotated[str, typer.Option("--symbol", help="Only those of this symbol.")]


class GapState(StrEnum):
    """The state of a gap as the command line spells it."""

    open = "open"
    repaired = "repaired"
    not_at_source = "not-at-source"

    @property
    def wire(self) -> "quality_pb2.GapState.ValueType":
        """As the contracts spell it."""
        return quality_pb2.GapState.Value(f"GAP_STATE_{self.name.upper()}")


@app.command()
def gaps(
    symbol: SymbolOption = "",
    state: Annotated[GapState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Limit = 50,
    *,
    json: Json = False,
) -> None:
    """List stretches of data that did not arrive, the newest first, and what became of them."""
    request = pb.ListGapsRequest(symbol=symbol, page_size=limit)
    if state is not None:
        request.state = state.wire

    async def command(mesh: Client) -> None:
        response = await mesh.quality.ListGaps(request)
        if json:
            print_json(response)
            return
        shown = table(
            "Gaps", "symbol", "what", "from (UTC)", "to (UTC)", "trade ids", "state", "rows", numbers=("rows",)
        )
        for gap in response.gaps:
            ids = f"{gap.first_trade_id} to {gap.last_trade_id}" if gap.first_trade_id else ""
            state = spelled(quality_pb2.GapState.Name, gap.state)
            what = _what(gap.channel, gap.interval)
            span = (when(gap.start_time), when(gap.end_time))
            shown.add_row(gap.symbol, what, *span, ids, state, str(gap.repaired_rows))
        show(shown)

    run(command)


@app.command()
def backfill(
    symbol: Symbol,
    start: Annotated[str, typer.Option(help="From this UTC time on, such as 2024-08-08T23:55.")],
    end: Annotated[str, typer.Option(help="Before this UTC time; now without it.")] = "",
    interval: Annotated[Interval | None, typer.Option(help="Candles of this length; trades without it.")] = None,
    job: Annotated[str, typer.Option(help="The id of an earlier call, to go on watching it.")] = "",
    *,
    wait: Annotated[bool, typer.Option(help="Show the progress until it is done.")] = True,
) -> None:
    """Fetch a stretch of a symbol's past from its source. For admins."""
    channel = stream_pb2.CHANNEL_CANDLES if interval else stream_pb2.CHANNEL_TRADES
    request = pb.CreateBackfillJobRequest(backfill_job_id=_job_id(job), symbol=symbol, channel=channel)
    if interval is not None:
        request.interval = interval.wire
    request.start_time.CopyFrom(moment("--start", start))
    if end:
        request.end_time.CopyFrom(moment("--end", end))

    async def command(mesh: Client) -> None:
        found = (await mesh.quality.CreateBackfillJob(request)).backfill_job
        if wait:
            found = await _watch(mesh, found)
        _tell(found)
        if found.state == quality_pb2.BACKFILL_STATE_FAILED:
            fail(found.problem)

    run(command)


@app.command()
def backfills(symbol: SymbolOption = "", limit: Limit = 20, *, json: Json = False) -> None:
    """List the backfills, the newest first."""

    async def command(mesh: Client) -> None:
        response = await mesh.quality.ListBackfillJobs(pb.ListBackfillJobsRequest(symbol=symbol, page_size=limit))
        if json:
            print_json(response)
            return
        figures = ("rows", "new")
        shown = table("Backfills", "id", "symbol", "what", "from (UTC)", "to (UTC)", "state", *figures, numbers=figures)
        for each in response.backfill_jobs:
            state = spelled(quality_pb2.BackfillState.Name, each.state)
            what = _what(each.channel, each.interval)
            span = (lately(each.start_time), lately(each.end_time))
            counts = (str(each.fetched_rows), str(each.new_rows))
            shown.add_row(each.backfill_job_id, each.symbol, what, *span, state, *counts)
        show(shown)

    run(command)


@app.command()
def cancel(job: Annotated[str, typer.Argument(help="The backfill's id.")]) -> None:
    """Cancel a backfill; what it has fetched stays. For admins."""

    async def command(mesh: Client) -> None:
        request = pb.CancelBackfillJobRequest(backfill_job_id=_job_id(job))
        _tell((await mesh.quality.CancelBackfillJob(request)).backfill_job)

    run(command)


@app.command()
def verify(
    symbol: Symbol,
    start: Annotated[str, typer.Option(help="From this UTC time on.")],
    end: Annotated[str, typer.Option(help="Before this UTC time.")],
    interval: Annotated[Interval, typer.Option(help="The length of a candle.")] = Interval.five_minutes,
    *,
    json: Json = False,
) -> None:
    """Compare stored candles with those of the source, to the last digit. For admins."""
    request = pb.VerifyCandlesRequest(symbol=symbol, interval=interval.wire)
    request.start_time.CopyFrom(moment("--start", start))
    request.end_time.CopyFrom(moment("--end", end))

    async def command(mesh: Client) -> None:
        response = await mesh.quality.VerifyCandles(request)
        if json:
            print_json(response)
            return
        console.print(f"{response.equal} of {response.compared} candles are equal to the last digit.")
        if response.differences:
            show(_differences(response))
            raise typer.Exit(1)

    run(command)


def _differences(response: pb.VerifyCandlesResponse) -> Table:
    shown = table("Differences", "open time (UTC)", "field", "ours", "theirs", numbers=("ours", "theirs"))
    for each in response.differences:
        opened = when((each.ours if each.HasField("ours") else each.theirs).open_time)
        if not (each.HasField("ours") and each.HasField("theirs")):
            shown.add_row(
                opened, "candle", *("there" if each.HasField(side) else "missing" for side in ("ours", "theirs"))
            )
        for name in each.fields:
            shown.add_row(opened, name, number(getattr(each.ours, name)), number(getattr(each.theirs, name)))
    return shown


async def _watch(mesh: Client, job: quality_pb2.BackfillJob) -> quality_pb2.BackfillJob:
    """Show how far ``job`` is until it is over."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(),
    )
    start, end = job.start_time.ToDatetime(UTC), job.end_time.ToDatetime(UTC)
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(f"{job.symbol} {_what(job.channel, job.interval)}", total=(end - start).total_seconds())
        while job.state not in _OVER:
            await asyncio.sleep(_POLL_SECONDS)
            request = pb.GetBackfillJobRequest(backfill_job_id=job.backfill_job_id)
            job = (await mesh.quality.GetBackfillJob(request)).backfill_job
            if job.HasField("position"):
                progress.update(bar, completed=(job.position.ToDatetime(UTC) - start).total_seconds())
        if job.state == quality_pb2.BACKFILL_STATE_DONE:
            progress.update(bar, completed=(end - start).total_seconds())
    return job


def _tell(job: quality_pb2.BackfillJob) -> None:
    console.print(
        record(
            ("backfill", job.backfill_job_id),
            ("state", spelled(quality_pb2.BackfillState.Name, job.state)),
            ("fetched", f"{job.fetched_rows} rows, {job.new_rows} of them new"),
            ("problem", job.problem),
        )
    )


def _what(channel: int, interval: int) -> str:
    """Such as ``trades`` or ``candles 5m``."""
    return f"{spelled(stream_pb2.Channel.Name, channel)} {spelled(candle_pb2.Interval.Name, interval)}".rstrip()


def _job_id(text: str) -> str:
    if not text:
        return str(uuid.uuid4())
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise invalid("job", f"{text!r} is no id of a backfill; `levimesh md backfills` lists them") from None
