"""``levimesh users``: who may log in."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import typer

from levimesh.auth.v1 import user_pb2
from levimesh.auth.v1 import user_service_pb2 as pb
from levimesh.client import Client
from levimesh.policy.v1 import policy_pb2
from services.cli.display import show, table, when
from services.cli.parameters import Json, PasswordFile, password
from services.cli.session import print_json, run

app = typer.Typer()
users = typer.Typer(name="users", help="Create and list users (admins only).", no_args_is_help=True)
app.add_typer(users)


class Role(StrEnum):
    """A role as the command line spells it."""

    viewer = "viewer"
    trader = "trader"
    admin = "admin"


@users.command()
def create(
    username: Annotated[str, typer.Argument(help="Lower-case letters, digits, dot, dash, underscore.")],
    role: Annotated[list[Role], typer.Option(help="What the user may do; may be given more than once.")],
    password_file: PasswordFile = None,
) -> None:
    """Create a user."""
    secret = password(password_file, "Password of the new user", twice=True)
    roles = [policy_pb2.Role.Value(f"ROLE_{each.upper()}") for each in role]

    async def command(mesh: Client) -> None:
        request = pb.CreateUserRequest(username=username, password=secret, roles=roles)
        _show([(await mesh.users.CreateUser(request)).user])

    run(command)


@users.command(name="list")
def list_users(*, json: Json = False) -> None:
    """List the users."""

    async def command(mesh: Client) -> None:
        response = await mesh.users.ListUsers(pb.ListUsersRequest())
        if json:
            print_json(response)
        else:
            _show(response.users)

    run(command)


def _show(shown: "Iterable[user_pb2.User]") -> None:
    rows = table("Users", "user name", "roles", "created (UTC)", "id", shrinking="id")
    for each in shown:
        roles = ", ".join(policy_pb2.Role.Name(role).removeprefix("ROLE_").lower() for role in each.roles)
        rows.add_row(each.username, roles, when(each.create_time), each.user_id)
    show(rows)
