"""The streams that one server has open: how many, whose they are, and which of them nobody reads."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import grpc

from services.runtime.errors import MeshError, Overloaded, ShuttingDown, SlowReaderCut, TooManyStreams
from services.runtime.identity import Caller
from services.runtime.policy import ELEVATED, Policy, StreamLimit

_log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Fail = Callable[[MeshError], Awaitable[None]]

STALLED_SECONDS = 6.0
"""How long nothing more may be taken from a message by its reader, while there are others."""
_ABORT_SECONDS = 1.0
_LOOKS = 8
"""So often it is looked within these seconds: looks are counted, and not the time, so that readers are not blamed for
the time in which this process itself was held up and could not see what they took."""


@dataclass(eq=False)
class _Open:
    """A stream that is open."""

    policy: Policy
    task: "asyncio.Task[Any]"
    context: Context
    fail: Fail
    waits: int | None = None
    """How often the newest message was seen to wait for its reader; None when none waits."""
    is_behind: Callable[[], bool] | None = None
    """Whether there is more for its reader, who is to be cut then; None for streams that are never cut."""


_current: ContextVar[_Open] = ContextVar("stream")


def cut_when_stalled(is_behind: Callable[[], bool]) -> None:
    """End the stream that is being served when its reader takes nothing for seconds while it ``is_behind``.

    A handler whose message is not taken is not running, so it cannot do this itself. Outside a stream nothing is done.
    """
    with suppress(LookupError):
        _current.get().is_behind = is_behind


def instrument_limit() -> int:
    """How many instruments the stream that is being served may have, by its policy."""
    limit = _current.get().policy.stream_limit
    return 0 if limit is None else limit.instruments


class StreamGuard:
    """Lets streams in, and sees to it that they end."""

    def __init__(self, largest: int, *, stalled_seconds: float = STALLED_SECONDS) -> None:
        self._largest = largest
        self._look_every = stalled_seconds / _LOOKS
        self._open: set[_Open] = set()
        self._of_callers: Counter[tuple[str, str, str]] = Counter()
        self._draining = False
        self._watch: asyncio.TimerHandle | None = None
        self._cutting: set[asyncio.Task[None]] = set()

    async def guarded(
        self, policy: Policy, caller: Caller, context: Context, responses: AsyncIterator[Any], fail: Fail
    ) -> AsyncIterator[Any]:
        """``responses``, while the stream may be open; ``fail`` ends it with an error.

        Raises TooManyStreams, Overloaded and ShuttingDown, the last one at any time.
        """
        if self._draining:
            raise ShuttingDown("the service is stopping; resume with the last token")
        if len(self._open) >= self._largest:
            raise Overloaded("too many streams at once; close some, or try again in a second")
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - grpc.aio serves every call in a task of its own
        stream = _Open(policy, task, context, fail)
        with self._counted(policy, caller):
            self._enter(stream)
            try:
                async for response in responses:
                    stream.waits = 0
                    yield response
                    stream.waits = None
            except asyncio.CancelledError:
                if not self._draining:
                    raise
                task.uncancel()
                raise ShuttingDown("the service is stopping; resume with the last token") from None
            finally:
                self._open.discard(stream)

    def drain(self) -> None:
        """End every stream with UNAVAILABLE (SHUTTING_DOWN), so that its reader resumes elsewhere."""
        self._draining = True
        for stream in self._open:
            stream.task.cancel()

    def _enter(self, stream: _Open) -> None:
        _current.set(stream)
        self._open.add(stream)
        if self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(self._look_every, self._look)

    @contextmanager
    def _counted(self, policy: Policy, caller: Caller) -> Iterator[None]:
        limit = policy.stream_limit
        if limit is None or (caller.user is None and caller.workload in policy.service_callers):
            yield
            return
        who = (policy.method, caller.user.user_id if caller.user else "", caller.address)
        self._count_in(limit, caller, who)
        try:
            yield
        finally:
            self._of_callers[who] -= 1
            if not self._of_callers[who]:
                del self._of_callers[who]

    def _count_in(self, limit: StreamLimit, caller: Caller, who: tuple[str, str, str]) -> None:
        most = limit.elevated if caller.user is not None and caller.user.tier == ELEVATED else limit.streams
        if self._of_callers[who] >= most:
            raise TooManyStreams(f"{most} streams of this method are open, as many as may be; end one first")
        self._of_callers[who] += 1

    def _look(self) -> None:
        """End the streams whose client has gone, or whose reader takes nothing."""
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(self._look_every, self._look) if self._open else None
        for stream in list(self._open):
            if stream.context.done():
                stream.task.cancel()
            elif stream.waits is not None:
                stream.waits += 1
                if stream.waits > _LOOKS and stream.is_behind is not None:
                    self._cut_if_behind(stream, stream.is_behind)

    def _cut_if_behind(self, stream: _Open, is_behind: Callable[[], bool]) -> None:
        if is_behind():
            stream.is_behind = None
            cutting = asyncio.ensure_future(_cut(stream))
            self._cutting.add(cutting)
            cutting.add_done_callback(self._cutting.discard)


async def _cut(stream: _Open) -> None:
    """The status waits behind the messages that the reader has not taken; the handler does not."""
    _log.info("a reader that takes nothing is cut", extra={"method": stream.policy.method})
    with suppress(Exception):
        async with asyncio.timeout(_ABORT_SECONDS):
            await stream.fail(SlowReaderCut("nothing was read for too long; resume with the last token"))
    stream.task.cancel()
