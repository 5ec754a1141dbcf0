"""API keys as many calls at once need them: read in turn, remembered for a moment, their uses written together."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime

from sqlalchemy import bindparam, or_, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.auth.adapters.tables import api_keys
from services.auth.domain.api_keys import StoredKey
from services.auth.recent import Recent
from services.runtime.errors import Overloaded

_log = logging.getLogger(__name__)

_AT_ONCE = 4
_WAITING = 100
_WRITTEN_EVERY = 20.0


class KeysInTurn:
    """Keys as they are, a few read at once: a flood of keys that nobody has does not take the database from logins."""

    def __init__(self, find: Callable[[str], Awaitable[StoredKey | None]]) -> None:
        self._find = find
        self._reading = 0
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def find(self, prefix: str) -> StoredKey | None:
        if self._reading >= _WAITING:
            raise Overloaded("too many API keys are looked up at once; try again in a second")
        self._reading += 1
        try:
            async with self._turns:
                return await self._find(prefix)
        finally:
            self._reading -= 1


class RecentKeys:
    """Keys as they were at most a second ago: of many calls with one key, one in a second reads it.

    For those who keep nothing of what they learn, such as a gateway that lets one call in.
    """

    def __init__(
        self, find: Callable[[str], Awaitable[StoredKey | None]], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._find = find
        self._recent: Recent[str, StoredKey | None] = Recent(monotonic)

    async def find(self, prefix: str) -> StoredKey | None:
        return await self._recent.get(prefix, lambda: self._find(prefix))


class LazyUses:
    """Uses of keys by the minute, written together: a key that is used all day costs one row in a minute."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._unwritten: dict[str, datetime] = {}
        self._written: dict[str, datetime] = {}

    def note(self, key_id: str, now: datetime) -> None:
        minute = now.replace(second=0, microsecond=0)
        if self._written.get(key_id) != minute:
            self._unwritten[key_id] = minute

    async def write(self) -> None:
        """Write what has been noted since the last time."""
        noted, self._unwritten = self._unwritten, {}
        if not noted:
            return
        try:
            async with self._engine.begin() as connection:
                # In one order, so that replicas that write at once wait for each other and never block each other.
                await connection.execute(_LATER_USE, [{"key": key, "minute": noted[key]} for key in sorted(noted)])
        except BaseException:
            self._unwritten = {**noted, **self._unwritten}
            raise
        newest = max(noted.values())
        self._written = {key: minute for key, minute in {**self._written, **noted}.items() if minute == newest}

    async def keep_writing(self) -> None:
        """Write every now and then, for ever."""
        while True:
            await asyncio.sleep(_WRITTEN_EVERY)
            await self.try_to_write()

    async def try_to_write(self) -> None:
        """Write, or let it wait for the next time: a key works without."""
        try:
            await self.write()
        except (OSError, SQLAlchemyError) as error:
            _log.warning("cannot write when API keys were used", extra={"error": type(error).__name__})


_LATER_USE = (
    update(api_keys)
    .where(
        api_keys.c.key_id == bindparam("key"),
        or_(api_keys.c.last_use_time.is_(None), api_keys.c.last_use_time < bindparam("minute")),
    )
    .values(last_use_time=bindparam("minute"))
)
