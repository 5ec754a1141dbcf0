"""What is done once in the life of a mesh: tried until it succeeds, and remembered then."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import grpc

from levimesh.client import explain
from services.stack.state import Memory, State

_log = logging.getLogger(__name__)

_LONGEST_DELAY = 8.0

WORDS: Mapping[str, str] = {
    "admin": "creating the first admin",
    "history": "filling the history and training the first model",
    "strategy": "starting the strategy",
}
"""What each of these steps is, in words."""


@dataclass(frozen=True)
class Step:
    """What is being done now."""

    what: str
    """In words."""
    problem: str = ""
    """Why the last try did not succeed."""


class Firsts:
    """Does the steps one after the other.

    One that does not succeed is tried again after ``delay`` seconds, and ever more slowly: failing logins are limited.
    """

    def __init__(self, state: State, memory: Memory, *, delay: float = 0.5) -> None:
        self.now: Step | None = None
        """None between the steps."""
        self._state = state
        self._memory = memory
        self._delay = delay

    async def once(self, name: str, work: Callable[[], Awaitable[None]], *needs: asyncio.Event) -> None:
        """Do ``work`` when what it ``needs`` is there, until it succeeds; nothing when that was in an earlier run."""
        delay = self._delay
        while name not in self._memory.done:
            self.now = self.now or Step(WORDS[name])
            for need in needs:
                await need.wait()
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - it is tried until it is done
                problem = _explained(error)
                _log.warning("cannot be done yet", extra={"what": name, "error": problem})
                # That it was tried too often is not why it did not succeed before.
                known = self.now.problem if _came_too_often(error) else ""
                self.now = Step(WORDS[name], known or problem)
                await asyncio.sleep(delay)
                delay = min(_LONGEST_DELAY, 2 * delay)
            else:
                self._memory = self._memory.with_done(name)
                self._memory.save(self._state)
        self.now = None


def _explained(error: Exception) -> str:
    return explain(error) if isinstance(error, grpc.aio.AioRpcError) else str(error) or repr(error)


def _came_too_often(error: Exception) -> bool:
    return isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
