"""Handing on what waits in the database, such as an outbox, to wherever it is to go."""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

BATCH = 500
"""The most that is handed on in one transaction."""


class Relay(ABC):
    """Hands on what waits, batch by batch, for ever; only one replica does it at a time."""

    def __init__(self, engine: AsyncEngine, name: str, *, idle_seconds: float = 1.0) -> None:
        """``name`` is that of the lock by which replicas take turns."""
        self._engine = engine
        self._lock = func.hashtext(name)
        self._idle_seconds = idle_seconds
        self._news = asyncio.Event()

    def wake(self) -> None:
        """There may be something waiting."""
        self._news.set()

    async def run(self) -> None:
        """Hand on for ever; raises when what it comes from, or where it goes, is away."""
        while True:
            self._news.clear()
            if await self.relay() == BATCH:
                continue
            # Other replicas commit without waking this one, so it looks by itself too.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._idle_seconds):
                    await self._news.wait()

    async def relay(self) -> int:
        """Hand on what waits, at most BATCH. Returns how many; 0 also when another replica is at it."""
        async with self._engine.begin() as connection:
            if not await connection.scalar(select(func.pg_try_advisory_xact_lock(self._lock))):
                return 0
            return await self._hand_on(connection)

    @abstractmethod
    async def _hand_on(self, connection: AsyncConnection) -> int:
        """Hand on what waits, at most BATCH, and note in the transaction of ``connection`` that it is done.

        Returns how many. Whatever was handed on before a crash is handed on again.
        """
