"""``levimesh users``: who may log in."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from levimesh.auth.v1 import user_pb2
from levimesh.auth.v1 import user_service_pb2 as pb
from levimesh.client import Client
from levimesh.policy.v1 import policy_pb2
from services.cli.admin_file import remember_password
from services.cli.display import console, roles, show, table, tier, when
from services.cli.paging import every_page
from services.cli.parameters import Json, PasswordFile, RateTier, Yes, invalid, password
from services.cli.session import fail, print_json, run

app = typer.Typer()
users = typer.Typer(name="users", help="The people of the mesh (admins only).", no_args_is_help=True)
app.add_typer(users)


class Role(StrEnum):
    """A role as the command line spells it."""

    viewer = "viewer"
    trader = "trader"
    admin = "admin"

    @property
    def wire(self) -> "policy_pb2.Role.ValueType":
        """As the contracts spell it."""
        return policy_pb2.Role.Value(f"ROLE_{self.upper()}")


NewName = Annotated[str, typer.Argument(help="Lower-case letters, digits, dot, dash, underscore.")]
UserName = Annotated[str, typer.Argument(help="The user name.")]
Roles = Annotated[list[Role], typer.Option("--role", help="What the user may do; may be given more than once.")]
NewRoles = Annotated[
    list[Role] | None, typer.Option("--role", help="Instead of those so far; more than once for more.")
]


@users.command()
def create(
    username: NewName, role: Roles, tier: RateTier = None, password_file: PasswordFile = None, *, json: Json = False
) -> None:
    """Create a user, who can log in at once."""
    secret = password(password_file, "Password of the new user", twice=True)
    request = pb.CreateUserRequest(username=username, password=secret, roles=[each.wire for each in role])
    if tier is not None:
        request.rate_tier = tier.wire

    async def command(mesh: Client) -> None:
        response = await mesh.users.CreateUser(request)
        if json:
            print_json(response)
        else:
            _show([response.user])

    run(command)


@users.command(name="list")
def list_users(*, json: Json = False) -> None:
    """List the users."""

    async def command(mesh: Client) -> None:
        response = await every_page(mesh.users.ListUsers, pb.ListUsersRequest())
        if json:
            print_json(response)
        else:
            _show(response.users)

    run(command)


@users.command()
def update(username: UserName, role: NewRoles = None, tier: RateTier = None, *, json: Json = False) -> None:
    """Change what a user may do, and how much. The user's programs go on with what they may do then."""
    if not role and tier is None:
        raise invalid("--role / --tier", "nothing to change was named")
    request = pb.UpdateUserRequest(update_mask=FieldMask())
    if role:
        request.roles.extend(each.wire for each in role)
        request.update_mask.paths.append("roles")
    if tier is not None:
        request.rate_tier = tier.wire
        request.update_mask.paths.append("rate_tier")

    async def command(mesh: Client) -> None:
        request.user_id = await _id_of(mesh, username)
        response = await mesh.users.UpdateUser(request)
        if json:
            print_json(response)
        else:
            _show([response.user])

    run(command)


@users.command()
def disable(username: UserName) -> None:
    """Keep a user from logging in, and end the user's sessions and the use of API keys."""

    async def command(mesh: Client) -> None:
        _show([(await mesh.users.DisableUser(pb.DisableUserRequest(user_id=await _id_of(mesh, username)))).user])

    run(command)


@users.command()
def enable(username: UserName) -> None:
    """Let a disabled user log in again, and forget failed logins."""

    async def command(mesh: Client) -> None:
        _show([(await mesh.users.EnableUser(pb.EnableUserRequest(user_id=await _id_of(mesh, username)))).user])

    run(command)


@users.command()
def delete(username: UserName, *, yes: Yes = False) -> None:
    """Remove a user with all sessions, API keys and second factors."""
    if not yes:
        typer.confirm(f"Delete {username}?", abort=True)

    async def command(mesh: Client) -> None:
        await mesh.users.DeleteUser(pb.DeleteUserRequest(user_id=await _id_of(mesh, username)))
        console.print(f"{username} is deleted.")

    run(command)


@users.command()
def reset_password(username: UserName) -> None:
    """Give a user a new password, shown this once, and end the user's sessions."""

    async def command(mesh: Client) -> None:
        request = pb.ResetPasswordRequest(user_id=await _id_of(mesh, username))
        new = (await mesh.users.ResetPassword(request)).password
        remember_password(username, new)
        console.print(f"The new password of {username}, shown this once: {new}", soft_wrap=True)

    run(command)


@users.command()
def reset_totp(username: UserName) -> None:
    """Take the second factor away from a user who has lost it, and end the user's sessions."""

    async def command(mesh: Client) -> None:
        _show([(await mesh.users.ResetTotp(pb.ResetTotpRequest(user_id=await _id_of(mesh, username)))).user])

    run(command)


async def _id_of(mesh: Client, username: str) -> str:
    """The id of the user with this name, in any case."""
    known = await every_page(mesh.users.ListUsers, pb.ListUsersRequest(page_size=1000))
    found = [user.user_id for user in known.users if user.username == username.lower()]
    if not found:
        fail(f"there is no user {username}; `levimesh users list` lists them all")
    return found[0]


def _show(shown: "Iterable[user_pb2.User]") -> None:
    rows = table("Users", "user name", "roles", "tier", "2nd factor", "state", "created (UTC)", "id", shrinking="id")
    for each in shown:
        rows.add_row(
            each.username,
            roles(each.roles),
            tier(each.rate_tier),
            "yes" if each.totp_enrolled else "",
            "disabled" if each.disabled else "",
            when(each.create_time),
            each.user_id,
        )
    show(rows)
