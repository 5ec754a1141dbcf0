"""``levimesh login``, ``logout``, ``whoami``: who to be at which gateway."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from levimesh.auth.v1 import user_service_pb2
from levimesh.client import Client, Profile, ProfileError, login
from levimesh.client.profile import DEFAULT_GATEWAY, credentials_file, embedded, load, save, state_folder
from levimesh.policy.v1 import policy_pb2
from services.cli.display import console, record
from services.cli.parameters import Json, PasswordFile, invalid, password
from services.cli.session import print_json, run

app = typer.Typer()


@app.command(name="login")
def log_in(
    username: Annotated[str, typer.Argument(help="The user name.")],
    gateway: Annotated[
        str, typer.Option(help="HOST:PORT of the gateway's TLS listener; that of the embedded stack without it.")
    ] = "",
    ca: Annotated[
        Path | None,
        typer.Option(
            help="PEM file of the authority of the gateway's certificate; the public ones without it.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    password_file: PasswordFile = None,
) -> None:
    """Log in and remember the gateway and the access token, which is good for five minutes.

    The password is not kept. The admin of the embedded stack needs no login: its commands find the state folder.
    """
    profile = replace(_mesh_at(gateway, ca), username=username)
    secret = password(password_file, "Password")

    async def command(mesh: Client) -> None:
        token = await login(mesh.auth, username, secret)
        path = save(replace(profile, access_token=token.value, expires_at=token.expires_at))
        console.print(f"Logged in at {profile.gateway} as {username}; remembered in {path}.", soft_wrap=True)

    run(command, profile)


@app.command()
def logout() -> None:
    """Forget the login, and be the admin of the embedded stack again, where there is one."""
    credentials_file().unlink(missing_ok=True)
    console.print("Logged out.")


@app.command()
def whoami(*, json: Json = False) -> None:
    """Show who you are, and where."""

    async def command(mesh: Client) -> None:
        response = await mesh.users.GetCurrentUser(user_service_pb2.GetCurrentUserRequest())
        if json:
            print_json(response)
            return
        roles = ", ".join(policy_pb2.Role.Name(role).removeprefix("ROLE_").lower() for role in response.user.roles)
        console.print(record(("user", response.user.username), ("roles", roles), ("gateway", load().gateway)))

    run(command)


def _mesh_at(gateway: str, ca: Path | None) -> Profile:
    """The mesh that is meant, without an identity. The embedded stack's own authority need not be named."""
    if gateway and not re.fullmatch(r"[^/\s]+:[0-9]{1,5}", gateway):
        raise invalid("--gateway", f"{gateway!r} is not HOST:PORT, such as {DEFAULT_GATEWAY}")
    try:
        stack = embedded(state_folder())
    except ProfileError:
        stack = Profile()
    meant = gateway or stack.gateway
    is_stack = meant.replace("localhost", "127.0.0.1") == stack.gateway
    if ca is not None:
        return Profile(meant, str(ca.absolute()))
    return Profile(meant, stack.ca if is_stack else "")
