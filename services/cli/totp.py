"""``levimesh totp``: one's second factor."""

from typing import Annotated

import grpc
import typer

from levimesh.auth.v1 import user_service_pb2 as pb
from levimesh.client import Client, details, explain
from levimesh.client.profile import load
from services.cli.display import console, errors
from services.cli.parameters import PasswordFile, password
from services.cli.session import ask_for_code, run

app = typer.Typer()
totp = typer.Typer(name="totp", help="Your second factor.", no_args_is_help=True)
app.add_typer(totp)

Code = Annotated[str, typer.Option(help="Of the authenticator, or a recovery code; asked for without it.")]

_TRIES = 3


@totp.command()
def enrol(password_file: PasswordFile = None) -> None:
    """Have logins ask for a code of your authenticator too, and show the recovery codes.

    It takes your password; that of the embedded stack's admin need not be typed.
    """

    async def command(mesh: Client) -> None:
        known = load().password if password_file is None else ""
        own = known or password(password_file, "Password")
        begun = await mesh.users.EnrollTotp(pb.EnrollTotpRequest(current_password=own))
        console.print(begun.qr_text, soft_wrap=True)
        console.print(f"Scan this with your authenticator, or open in it:\n{begun.otpauth_uri}\n", soft_wrap=True)
        codes = await _confirmed(mesh)
        console.print(
            "\nLogins ask for a code from now on. Each of these recovery codes replaces one, once. They are",
            soft_wrap=True,
        )
        console.print("shown this once; keep them where you find them without your authenticator:\n", soft_wrap=True)
        for code in codes:
            console.print(f"  {code}")

    run(command)


@totp.command()
def remove(code: Code = "") -> None:
    """Have logins ask for no code any more."""

    async def command(mesh: Client) -> None:
        await mesh.users.RemoveTotp(pb.RemoveTotpRequest(second_factor=code or await ask_for_code()))
        console.print("The second factor is removed.")

    run(command)


async def _confirmed(mesh: Client) -> list[str]:
    """The recovery codes, in exchange for a code, which may be mistyped. Raises grpc.aio.AioRpcError."""
    for left in reversed(range(_TRIES)):
        code: str = typer.prompt("Code that it shows now")
        try:
            response = await mesh.users.ConfirmTotp(pb.ConfirmTotpRequest(code=code.replace(" ", "")))
        except grpc.aio.AioRpcError as error:
            mistyped = details(error).reason in {"ERROR_REASON_CODE_INVALID", "ERROR_REASON_FIELD_VIOLATION"}
            if not left or not mistyped:
                raise
            errors.print(explain(error), style="yellow", soft_wrap=True)
        else:
            return list(response.recovery_codes)
    raise AssertionError("the last try returns or raises")
