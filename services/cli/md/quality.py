"""``levimesh md quality``: how good the stored data is, as a page with charts."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from levimesh.client import Client
from levimesh.marketdata.v1 import quality_service_pb2 as pb
from services.cli.display import console
from services.cli.parameters import moment
from services.cli.session import run

app = typer.Typer()


@app.command()
def quality(
    symbol: Annotated[str, typer.Argument(help="Only this symbol; all active ones without it.")] = "",
    start: Annotated[str, typer.Option(help="From this UTC time on; 24 hours before the end without it.")] = "",
    end: Annotated[str, typer.Option(help="Before this UTC time; now, by the source's clock, without it.")] = "",
    output: Annotated[Path, typer.Option(help="Where the page is written.", dir_okay=False)] = Path("quality.html"),
    *,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write a report on the quality of the data: coverage, gaps, latency, quarantine."""
    request = pb.RenderQualityReportRequest(symbol=symbol)
    if start:
        request.start_time.CopyFrom(moment("--start", start))
    if end:
        request.end_time.CopyFrom(moment("--end", end))

    async def command(mesh: Client) -> None:
        page = (await mesh.quality.RenderQualityReport(request)).page
        output.write_bytes(page.data)
        console.print(f"The report is in {output}.")
        if show:
            webbrowser.open(output.resolve().as_uri())

    run(command)
