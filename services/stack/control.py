"""The supervisor's control socket: a request and an answer, each a line of JSON."""

import asyncio
import inspect
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from services.stack.files import is_ours_alone

_log = logging.getLogger(__name__)

_REQUEST_SECONDS = 10.0
_NOT_RUNNING = "the stack is not running; start it with: levimesh up"

Answer = dict[str, Any]
Handler = Callable[..., Awaitable[Answer]]


class NotRunning(Exception):
    """No supervisor listens, or it does not answer in time."""


class Refused(Exception):
    """The supervisor says why it does not do it."""


class BadRequest(Exception):
    """What came in is no command."""


@asynccontextmanager
async def serving(
    socket: Path, handlers: Mapping[str, Handler], refusals: tuple[type[Exception], ...]
) -> AsyncIterator[None]:
    """Answer requests with ``handlers``; what they raise of ``refusals`` is told to whoever asked."""

    told: tuple[type[Exception], ...] = (BadRequest, *refusals)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            said = await _answer(reader, handlers)
        except told as error:
            said = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever asked must not wait for an answer
            _log.exception("a command failed")
            said = {"error": f"the stack failed at it ({error!r}); see: levimesh logs stack"}
        writer.write(json.dumps(said).encode() + b"\n")
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    # The folder of the socket admits nobody else, and the supervisor's lock no second one.
    _remove(socket)
    server = await asyncio.start_unix_server(handle, str(socket))
    try:
        yield
    finally:
        server.close()
        _remove(socket)


async def ask(socket: Path, command: str, *, seconds: float = 10.0, **arguments: Any) -> Answer:
    """The supervisor's answer to ``command``. Raises NotRunning, or Refused with its reason."""
    if not is_ours_alone(socket.parent):
        raise NotRunning(_NOT_RUNNING)
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
        raise NotRunning(_NOT_RUNNING) from error
    if not line:
        raise NotRunning("the stack was stopped")
    answer: Answer = json.loads(line)
    if "error" in answer:
        raise Refused(answer["error"])
    return answer


async def _answer(reader: asyncio.StreamReader, handlers: Mapping[str, Handler]) -> Answer:
    try:
        async with asyncio.timeout(_REQUEST_SECONDS):
            request = json.loads(await reader.readline())
        handler = handlers[request.pop("command")]
        inspect.signature(handler).bind(**request)
    except TimeoutError:
        raise BadRequest(f"no command came within {_REQUEST_SECONDS:.0f} s") from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise BadRequest(f"not a command; there are {', '.join(handlers)}, each as a line of JSON") from None
    return await handler(**request)


def _remove(socket: Path) -> None:
    socket.unlink(missing_ok=True)
