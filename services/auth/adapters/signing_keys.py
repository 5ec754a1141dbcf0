"""Signing keys in PostgreSQL."""

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from services.auth.adapters.tables import one_at_a_time, signing_keys
from services.auth.domain.tokens import SealedKey


class SqlSigningKeys:
    """Signing keys in the table ``auth.signing_keys``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def first(self, candidate: SealedKey) -> SealedKey:
        async with self._engine.begin() as connection:
            await one_at_a_time(connection, "auth signing keys")
            found = await connection.execute(select(signing_keys).order_by(signing_keys.c.create_time).limit(1))
            if (row := found.one_or_none()) is not None:
                return SealedKey(row.kid, row.sealed, row.create_time, row.create_time)
            await connection.execute(
                insert(signing_keys).values(
                    kid=candidate.kid, sealed=candidate.sealed, create_time=candidate.create_time
                )
            )
            return candidate
