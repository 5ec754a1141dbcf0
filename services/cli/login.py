"""``levimesh login``, ``logout``, ``whoami``: who to be at which gateway."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import grpc
import typer

from levimesh.auth.v1 import auth_service_pb2, user_service_pb2
from levimesh.client import Client, Profile, ProfileError, explain, login
from levimesh.client.profile import DEFAULT_GATEWAY, credentials_file, embedded, load, logged_in, state_folder
from levimesh.client.renewal import login_asking
from levimesh.client.session import SessionFile
from services.cli.display import console, errors, record, roles, tier
from services.cli.parameters import Json, PasswordFile, invalid, password
from services.cli.session import ask_for_code, print_json, run

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
    code: Annotated[
        str, typer.Option(help="Of the authenticator, or a recovery code; asked for when it is needed.")
    ] = "",
) -> None:
    """Log in and remember the gateway and the session, which lives on as long as it is used.

    The password is not kept. The admin of the embedded stack needs no login: its commands find the state folder.
    """
    where = _mesh_at(gateway, ca)
    kept = SessionFile(credentials_file(), where.gateway, username, where.ca)
    profile = replace(where, username=username, password=password(password_file, "Password"))

    async def command(mesh: Client) -> None:
        if code:
            session = await login(mesh.auth, username, profile.password, code)
        else:
            session = await login_asking(mesh.auth, replace(profile, second_factor=ask_for_code))
        async with kept.locked():
            kept.write(session)
        console.print(f"Logged in at {kept.gateway} as {username}; remembered in {kept.path}.", soft_wrap=True)

    run(command, profile)


@app.command()
def logout() -> None:
    """End the session, and be the admin of the embedded stack again, where there is one."""
    try:
        profile = logged_in() or embedded(state_folder())
    except ProfileError:
        credentials_file().unlink(missing_ok=True)  # it made no sense
        console.print("Nobody is logged in.")
        return
    kept = profile.session_file
    if kept is None or kept.read() is None:
        console.print("Nobody is logged in.")
        return

    async def command(mesh: Client) -> None:
        await _end_session(mesh, kept)

    run(command, replace(profile, password=""))  # without which nobody is logged in to be logged out
    console.print(f"Logged out {profile.username} at {profile.gateway}.")


@app.command()
def whoami(*, json: Json = False) -> None:
    """Show who you are, and where."""

    async def command(mesh: Client) -> None:
        response = await mesh.users.GetCurrentUser(user_service_pb2.GetCurrentUserRequest())
        if json:
            print_json(response)
            return
        user, profile = response.user, load()
        console.print(
            record(
                ("user", user.username),
                ("roles", roles(user.roles)),
                ("tier", tier(user.rate_tier)),
                ("second factor", "yes" if user.totp_enrolled else ""),
                ("gateway", profile.gateway),
                ("by", _identity(profile)),
            )
        )

    run(command)


def _identity(profile: Profile) -> str:
    """Where the identity of ``profile`` comes from."""
    if profile.has_api_key:
        return "an API key in the environment"
    return "the embedded stack's admin" if profile.password else "levimesh login"


async def _end_session(mesh: Client, kept: SessionFile) -> None:
    """End it at the mesh, if that can be reached, and forget it."""
    try:
        await mesh.auth.Logout(auth_service_pb2.LogoutRequest())
    except ProfileError:
        pass  # it has ended already
    except grpc.aio.AioRpcError as error:
        told = f"warning: the session could not be ended there, and lives on until it expires: {explain(error)}"
        errors.print(told, style="yellow", soft_wrap=True)
    async with kept.locked():
        kept.forget()


def _mesh_at(gateway: str, ca: Path | None) -> Profile:
    """The mesh that is meant, without an identity. The embedded stack's own authority need not be named."""
    # gRPC would take a port that there is not for another one.
    if gateway and not (re.fullmatch(r"[^/\s]+:[0-9]{1,5}", gateway) and 0 < int(gateway.rpartition(":")[2]) < 2**16):
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
