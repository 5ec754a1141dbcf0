"""From the outbox to the journal."""

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.runtime.journal import Journal
from services.runtime.relay import BATCH, Relay
from services.trading.adapters.tables import outbox

TOPIC = "trading.orders"


class OutboxRelay(Relay):
    """Appends what is in the outbox to the journal, in the order of its ids, and then removes it.

    The ids of one account's changes are in the order of the changes, because each is made while the account is held.
    A crash between appending and removing repeats events, never loses one: readers tell by the order's version.
    """

    def __init__(self, engine: AsyncEngine, journal: Journal, *, idle_seconds: float = 1.0) -> None:
        super().__init__(engine, "trading outbox relay", idle_seconds=idle_seconds)
        self._journal = journal

    async def _hand_on(self, connection: AsyncConnection) -> int:
        rows = (await connection.execute(select(outbox).order_by(outbox.c.id).limit(BATCH))).all()
        if rows:
            await self._journal.append(TOPIC, [(row.key, row.event) for row in rows])
            await connection.execute(delete(outbox).where(outbox.c.id.in_([row.id for row in rows])))
        return len(rows)
