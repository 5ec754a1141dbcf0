"""From the outbox to the journal."""

import asyncio
from contextlib import suppress

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from services.runtime.journal import Journal
from services.trading.adapters.tables import outbox

TOPIC = "trading.orders"
_LOCK = func.hashtext("trading outbox relay")
_BATCH = 500


class OutboxRelay:
    """Appends what is in the outbox to the journal, in the order of its ids, and then removes it.

    The ids of one account's changes are in the order of the changes, because each is made while the account is held.
    A crash between appending and removing repeats events, never loses one: readers tell by the order's version. Only
    one replica relays at a time.
    """

    def __init__(self, engine: AsyncEngine, journal: Journal, *, idle_seconds: float = 1.0) -> None:
        self._engine = engine
        self._journal = journal
        self._idle_seconds = idle_seconds
        self._news = asyncio.Event()

    def wake(self) -> None:
        """There may be something in the outbox."""
        self._news.set()

    async def run(self) -> None:
        """Relay for ever; raises when the database or the journal is away."""
        while True:
            self._news.clear()
            if await self.relay() == _BATCH:
                continue
            # Other replicas commit without waking this one, so it looks by itself too.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._idle_seconds):
                    await self._news.wait()

    async def relay(self) -> int:
        """Relay what is there, at most 500 events. Returns how many; 0 also when another replica is at it."""
        async with self._engine.begin() as connection:
            if not (await connection.execute(select(func.pg_try_advisory_xact_lock(_LOCK)))).scalar_one():
                return 0
            rows = (await connection.execute(select(outbox).order_by(outbox.c.id).limit(_BATCH))).all()
            if rows:
                await self._journal.append(TOPIC, [(row.key, row.event) for row in rows])
                await connection.execute(delete(outbox).where(outbox.c.id.in_([row.id for row in rows])))
        return len(rows)
