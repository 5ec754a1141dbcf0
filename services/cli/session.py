"""Running a command against the mesh: one client, and errors that a person can read."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NoReturn

import grpc
import typer
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from levimesh.client import Client, Profile, ProfileError, explain
from levimesh.client.profile import load
from services.cli.display import errors

_INTERRUPTED = 130


def run(command: Callable[[Client], Awaitable[None]], profile: Profile | None = None) -> None:
    """Run ``command`` with a connected client, which asks for a code when a login needs one.

    An error of the mesh ends the process with status 1 and its text.
    """

    async def connected() -> None:
        async with Client.connect(replace(profile or load(), second_factor=ask_for_code)) as mesh:
            await command(mesh)

    try:
        asyncio.run(connected())
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except ExceptionGroup as group:
        _end(group.exceptions[0])
    except (grpc.aio.AioRpcError, ProfileError, OSError) as error:
        _end(error)


async def ask_for_code() -> str:
    """What a person types who has a second factor."""
    typed: str = typer.prompt("Code of the authenticator, or a recovery code", err=True)
    return typed.strip()


def fail(message: str) -> NoReturn:
    """End with ``message`` and status 1."""
    errors.print(f"error: {message}", style="red", soft_wrap=True)
    raise typer.Exit(1)


def print_json(message: Message) -> None:
    """``message`` as JSON, the same as over REST."""
    typer.echo(MessageToJson(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True))


def _end(error: Exception) -> NoReturn:
    if isinstance(error, grpc.aio.AioRpcError):
        fail(explain(error))
    if isinstance(error, ProfileError | OSError):
        fail(str(error))
    raise error
