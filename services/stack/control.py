"""The supervisor's control socket: a request and an answer, each a line of JSON."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
Handler = Callable[..., Awaitable[Answer]]


class NotRunning(Exception):
    """No supervisor listens, or it does not answer in time."""


class Refused(Exception):
    """The supervisor says why it does not do it."""


@asynccontextmanager
async def serving(
    socket: Path, handlers: Mapping[str, Handler], refusals: tuple[type[Exception], ...]
) -> AsyncIterator[None]:
    """Answer requests with ``handlers``; what they raise of ``refusals`` is told to whoever asked."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = json.loads(await reader.readline())
        try:
            said = await handlers[request.pop("command")](**request)
        except refusals as error:
            said = {"error": str(error)}
        writer.write(json.dumps(said).encode() + b"\n")
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    # The folder of the socket admits nobody else, and the supervisor's lock no second one.
    _remove(socket)
    server = await asyncio.start_unix_server(answer, str(socket))
    try:
        yield
    finally:
        server.close()
        _remove(socket)


async def ask(socket: Path, command: str, *, seconds: float = 10.0, **arguments: Any) -> Answer:
    """The supervisor's answer to ``command``. Raises NotRunning, or Refused with its reason."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(str(socket), limit=2**20)
            try:
                writer.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
                line = await reader.readline()
            finally:
                writer.close()
    except TimeoutError as error:
        raise NotRunning(f"the stack has not done it within {seconds:.0f} s; see: levimesh status") from error
    except OSError as error:
        raise NotRunning("the stack is not running; start it with: levimesh up") from error
    if not line:
        raise NotRunning("the stack was stopped")
    answer: Answer = json.loads(line)
    if "error" in answer:
        raise Refused(answer["error"])
    return answer


def _remove(socket: Path) -> None:
    socket.unlink(missing_ok=True)
