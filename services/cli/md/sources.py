"""``levimesh md sources``: where market data comes from, and how the sources are."""

import typer
from rich.text import Text

from levimesh.client import Client
from levimesh.marketdata.v1 import quality_service_pb2 as pb
from levimesh.marketdata.v1 import source_pb2
from services.cli.display import console, lately, seconds, show, table
from services.cli.md.names import spelled
from services.cli.parameters import Json
from services.cli.session import print_json, run

app = typer.Typer()

_STYLES = {
    source_pb2.SOURCE_STATE_LIVE: "green",
    source_pb2.SOURCE_STATE_FINISHED: "dim",
    source_pb2.SOURCE_STATE_CONNECTING: "yellow",
    source_pb2.SOURCE_STATE_SILENT: "red",
    source_pb2.SOURCE_STATE_DOWN: "red",
}


@app.command()
def sources(*, json: Json = False) -> None:
    """List the sources, and how they are."""

    async def command(mesh: Client) -> None:
        response = await mesh.quality.ListSources(pb.ListSourcesRequest())
        if json:
            print_json(response)
            return
        figures = ("symbols", "rows", "quarantined", "reconnects")
        shown = table("Sources", "source", "kind", "state", "last (UTC)", "latency", *figures, numbers=figures)
        for each in response.sources:
            state = Text(spelled(source_pb2.SourceState.Name, each.state), style=_STYLES.get(each.state, ""))
            counts = (each.symbols, each.rows, each.quarantined, each.reconnects)
            heard = lately(each.last_message_time) if each.HasField("last_message_time") else ""
            kind = spelled(source_pb2.SourceKind.Name, each.kind)
            shown.add_row(each.source, kind, state, heard, seconds(each.latency), *map(str, counts))
        show(shown)
        for each in response.sources:
            if each.problem:
                console.print(f"{each.source}: {each.problem}", style="red", soft_wrap=True)

    run(command)
