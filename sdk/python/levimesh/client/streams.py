"""Streams that go on after an interruption."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Protocol, TypeVar

import grpc

from levimesh.client.errors import details

HEARTBEATS_MISSED = 30.0
"""Seconds of silence after which a stream is taken for dead: three heartbeats."""

_FINAL = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.OUT_OF_RANGE,
}
_FIRST_WAIT, _LONGEST_WAIT, _DOUBLINGS = 0.1, 5.0, 6


class StreamMessage(Protocol):
    """A message of any of the mesh's streams."""

    resume_token: str

    def HasField(self, field_name: Any) -> bool: ...  # noqa: N802 - protobuf's own name


Message = TypeVar("Message", bound=StreamMessage)


async def resume(
    open_stream: Callable[[str], "grpc.aio.UnaryStreamCall[Any, Message]"],
    *,
    resume_token: str = "",
    heal: Callable[[grpc.aio.AioRpcError], bool] = lambda _: False,
    silence: float = HEARTBEATS_MISSED,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    chance: Callable[[], float] = random.random,
) -> AsyncGenerator[Message, None]:
    """Every message of the stream that ``open_stream(resume_token)`` opens, across interruptions, for ever.

    The stream is opened again after its last token when it breaks, ends, or is silent for longer than ``silence``
    seconds; with exponential backoff and full jitter, from 0.1 to 5 seconds, while no opening brings more than the
    heartbeat that greets its reader; later when the mesh says that the reader opens too many. Heartbeats and gaps are
    yielded too: after a Gap the reader fetches the current state.

    Raises grpc.aio.AioRpcError for what a repetition cannot heal, such as INVALID_ARGUMENT or PERMISSION_DENIED, unless
    ``heal(error)`` returns True: it has changed something, and the stream is opened once more.

    A reader that leaves the loop early wraps this in ``contextlib.aclosing``; otherwise the call lives on until the
    iterator is garbage.
    """
    failures, healed = 0, False
    while True:
        least = 0.0
        call = open_stream(resume_token)
        try:
            messages, greeted = aiter(call), False
            while True:
                async with asyncio.timeout(silence):
                    message = await anext(messages)
                if message.HasField("end"):
                    continue  # the status that it announces follows
                resume_token = message.resume_token or resume_token
                if greeted or not message.HasField("heartbeat"):
                    failures = 0
                greeted, healed = True, False
                yield message
        except (StopAsyncIteration, TimeoutError):
            pass
        except grpc.aio.AioRpcError as error:
            final = error.code() in _FINAL
            if final and (healed or not heal(error)):
                raise
            healed = healed or final
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                least = details(error).retry_after or 0.0
        finally:
            call.cancel()
        await sleep(max(least, chance() * min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(failures, _DOUBLINGS))))
        failures += 1
