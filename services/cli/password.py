"""``levimesh password``: one's own."""

from pathlib import Path
from typing import Annotated

import typer

from levimesh.auth.v1 import user_service_pb2 as pb
from levimesh.client import Client
from levimesh.client.profile import load
from services.cli.admin_file import remember_password
from services.cli.display import console
from services.cli.parameters import PasswordFile, password
from services.cli.session import run

app = typer.Typer()
own = typer.Typer(name="password", help="Your own password.", no_args_is_help=True)
app.add_typer(own)

CurrentFile = Annotated[
    Path | None,
    typer.Option(
        "--current-password-file", help="Read the password so far from this file.", exists=True, dir_okay=False
    ),
]


@own.command()
def change(current_password_file: CurrentFile = None, password_file: PasswordFile = None) -> None:
    """Change your password, and end your other sessions.

    That of the embedded stack's admin need not be typed, and the new one is kept in its place.
    """

    async def command(mesh: Client) -> None:
        known = load().password if current_password_file is None else ""
        current = known or password(current_password_file, "Password so far")
        new = password(password_file, "New password", twice=True)
        await mesh.users.ChangePassword(pb.ChangePasswordRequest(current_password=current, new_password=new))
        if known:
            remember_password(load().username, new)
        console.print("The password is changed.")

    run(command)
