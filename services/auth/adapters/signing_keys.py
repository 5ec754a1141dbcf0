"""Signing keys in PostgreSQL."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.auth.adapters.tables import one_at_a_time, signing_keys
from services.auth.domain.signing_keys import SealedKey
from services.runtime.audit import AuditLog

_ACTOR = "auth"


class SqlSigningKeys:
    """Signing keys in the table ``auth.signing_keys``; that they come and go is recorded."""

    def __init__(self, engine: AsyncEngine, audit: AuditLog) -> None:
        self._engine = engine
        self._audit = audit

    async def all(self) -> Collection[SealedKey]:
        async with self._engine.connect() as connection:
            return await _all(connection)

    @asynccontextmanager
    async def change(self) -> "AsyncIterator[SqlChangedKeys]":
        async with self._engine.begin() as connection:
            await one_at_a_time(connection, "auth signing keys")
            yield SqlChangedKeys(connection, self._audit)


class SqlChangedKeys:
    """The keys in a transaction of ``connection``, which no other one of the kind runs beside."""

    def __init__(self, connection: AsyncConnection, audit: AuditLog) -> None:
        self._connection = connection
        self._audit = audit

    async def all(self) -> Collection[SealedKey]:
        return await _all(self._connection)

    async def add(self, key: SealedKey) -> None:
        row = {
            "kid": key.kid,
            "sealed": key.sealed,
            "create_time": key.create_time,
            "sign_time": key.sign_time,
        }
        await self._connection.execute(insert(signing_keys).values(row))
        await self._record("signing_key_added", key.kid)

    async def reseal(self, kid: str, sealed: bytes) -> None:
        await self._connection.execute(update(signing_keys).where(signing_keys.c.kid == kid).values(sealed=sealed))

    async def remove(self, kid: str) -> None:
        await self._connection.execute(delete(signing_keys).where(signing_keys.c.kid == kid))
        await self._record("signing_key_removed", kid)

    async def _record(self, action: str, kid: str) -> None:
        await self._audit.record(action, actor=_ACTOR, subject={"kid": kid}, connection=self._connection)


async def _all(connection: AsyncConnection) -> Collection[SealedKey]:
    found = await connection.execute(select(signing_keys))
    return [SealedKey(row.kid, row.sealed, row.create_time, row.sign_time) for row in found]
