"""``levimesh sessions``: where one is logged in."""

from typing import Annotated

import typer

from levimesh.auth.v1 import auth_service_pb2 as pb
from levimesh.client import Client
from levimesh.client.profile import load
from services.cli.display import console, show, table, when
from services.cli.paging import every_page
from services.cli.parameters import Json, Yes
from services.cli.session import fail, print_json, run

app = typer.Typer()
sessions = typer.Typer(name="sessions", help="Where you are logged in.", no_args_is_help=True)
app.add_typer(sessions)

SessionId = Annotated[str, typer.Argument(help="The session's id, or as much of its beginning as names only one.")]


@sessions.command(name="list")
def list_sessions(*, json: Json = False) -> None:
    """List your sessions, the newest first; a star marks the one that asks."""

    async def command(mesh: Client) -> None:
        response = await every_page(mesh.auth.ListSessions, pb.ListSessionsRequest())
        if json:
            print_json(response)
        else:
            _show(response)

    run(command)


@sessions.command()
def revoke(session_id: SessionId) -> None:
    """End one of your sessions, for all its tokens."""

    async def command(mesh: Client) -> None:
        whole = await _named(mesh, session_id)
        await mesh.auth.RevokeSession(pb.RevokeSessionRequest(session_id=whole))
        console.print(f"The session {whole} has ended.")

    run(command)


@sessions.command()
def revoke_all(*, yes: Yes = False) -> None:
    """End all your sessions, this one included. API keys stay."""
    if not yes:
        typer.confirm("End all your sessions, this one included?", abort=True)

    async def command(mesh: Client) -> None:
        response = await mesh.auth.LogoutEverywhere(pb.LogoutEverywhereRequest())
        if (kept := load().session_file) is not None:
            async with kept.locked():
                kept.forget()
        console.print(f"Sessions ended: {response.sessions_ended}.")

    run(command)


async def _named(mesh: Client, beginning: str) -> str:
    """The id that begins so."""
    known = await every_page(mesh.auth.ListSessions, pb.ListSessionsRequest())
    found = [each.session_id for each in known.sessions if each.session_id.startswith(beginning.lower())]
    if len(found) != 1:
        fail(f"{len(found) or 'no'} sessions of yours begin with {beginning}; `levimesh sessions list` lists them all")
    return found[0]


def _show(response: pb.ListSessionsResponse) -> None:
    columns = ("", "id", "began (UTC)", "renewed (UTC)", "ends (UTC)", "address", "client")
    rows = table("Sessions", *columns, shrinking="client")
    for each in response.sessions:
        rows.add_row(
            "*" if each.current else "",
            each.session_id.partition("-")[0],
            when(each.create_time),
            when(each.refresh_time),
            when(each.expire_time),
            each.address,
            each.user_agent,
        )
    show(rows)
