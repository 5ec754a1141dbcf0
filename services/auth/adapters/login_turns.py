"""Logins in turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.runtime.errors import Overloaded


class LoginTurns:
    """A few logins at a time, in the order in which they came; the others wait before they cost anything.

    Without it a storm would have a hundred at work at once: every connection to the database, and the event loop, which
    calls of those who have logged in need too. What even waiting has no place for is refused.
    """

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._places = at_once + waiting

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        if not self._places:
            raise Overloaded("too many logins at once; try again in a second")
        self._places -= 1
        try:
            async with self._turns:
                yield
        finally:
            self._places += 1
