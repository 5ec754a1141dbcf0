"""What is revoked, in PostgreSQL and by its clock, which is one for all replicas."""

from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.auth.adapters.tables import revocations

_LONGER = timedelta(minutes=1)
"""Than the tokens live: clocks differ, and a token may be issued while its session is being ended."""


async def revoke(connection: AsyncConnection, *token_ids: str) -> None:
    """List ``token_ids`` as revoked from the end of the transaction on.

    They are the ids of sessions and of API keys, and the ``rights_id`` of users whose rights have changed.
    """
    if not token_ids:
        return
    listed = insert(revocations).values([{"token_id": each, "revoke_time": func.now()} for each in set(token_ids)])
    renewed = listed.on_conflict_do_update(index_elements=["token_id"], set_={"revoke_time": func.now()})
    await connection.execute(renewed)


class SqlRevocations:
    """The table ``auth.revocations``."""

    def __init__(self, engine: AsyncEngine, token_life: timedelta) -> None:
        self._engine = engine
        self._listed_for = token_life + _LONGER

    async def current(self) -> frozenset[str]:
        listed = select(revocations.c.token_id).where(revocations.c.revoke_time > func.now() - self._listed_for)
        async with self._engine.connect() as connection:
            return frozenset((await connection.execute(listed)).scalars())

    async def forget(self) -> None:
        old = delete(revocations).where(revocations.c.revoke_time <= func.now() - self._listed_for)
        async with self._engine.begin() as connection:
            await connection.execute(old)
