"""API keys in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncEngine

from services.auth.adapters.purging import purge
from services.auth.adapters.revocations import revoke
from services.auth.adapters.tables import api_keys, one_at_a_time
from services.auth.domain.api_keys import ApiKey, StoredKey
from services.auth.domain.tokens import Scope
from services.auth.domain.users import RateTier
from services.auth.ports.users import Users

_newest_first = (api_keys.c.create_time, api_keys.c.key_id)


class SqlApiKeys:
    """The table ``auth.api_keys``."""

    def __init__(self, engine: AsyncEngine, users: Users) -> None:
        self._engine = engine
        self._users = users

    async def add(self, key: ApiKey, secret_hash: bytes, most: int) -> bool:
        not_ended = (api_keys.c.revoke_time.is_(None), api_keys.c.expire_time > key.create_time)
        theirs = select(func.count()).select_from(api_keys).where(api_keys.c.user_id == key.user_id, *not_ended)
        async with self._engine.begin() as connection:
            await one_at_a_time(connection, f"auth api keys of {key.user_id}")
            if (await connection.execute(theirs)).scalar_one() >= most:
                return False
            await connection.execute(insert(api_keys).values({**_row(key), "secret_hash": secret_hash}))
            return True

    async def forget(self, ended_before: datetime) -> None:
        await purge(self._engine, api_keys, func.least(api_keys.c.revoke_time, api_keys.c.expire_time) < ended_before)

    async def find(self, prefix: str) -> StoredKey | None:
        """The key whose secrets begin with ``prefix``, and its owner."""
        async with self._engine.connect() as connection:
            found = await connection.execute(select(api_keys).where(api_keys.c.prefix == prefix))
            row = found.one_or_none()
        if row is None or (owner := await self._users.by_id(row.user_id)) is None:
            return None
        return StoredKey(_key(row), row.secret_hash, row.previous_hash, row.previous_expire_time, owner)

    async def of_user(self, user_id: str, after: tuple[datetime, str] | None, limit: int) -> Sequence[ApiKey]:
        wanted = select(api_keys).where(api_keys.c.user_id == user_id)
        if after is not None:
            wanted = wanted.where(tuple_(*_newest_first) < after)
        ordered = wanted.order_by(*(column.desc() for column in _newest_first)).limit(limit)
        async with self._engine.connect() as connection:
            return [_key(row) for row in await connection.execute(ordered)]

    async def prefix(self, key_id: str, user_id: str, now: datetime) -> str | None:
        async with self._engine.connect() as connection:
            wanted = select(api_keys.c.prefix).where(*_active(key_id, user_id, now))
            found: str | None = await connection.scalar(wanted)
            return found

    async def rotate(
        self, key_id: str, user_id: str, secret_hash: bytes, previous_expire_time: datetime, now: datetime
    ) -> ApiKey | None:
        rotated = (
            update(api_keys)
            .where(*_active(key_id, user_id, now))
            .values(
                previous_hash=api_keys.c.secret_hash,
                previous_expire_time=previous_expire_time,
                secret_hash=secret_hash,
            )
            .returning(api_keys)
        )
        async with self._engine.begin() as connection:
            row = (await connection.execute(rotated)).one_or_none()
        return None if row is None else _key(row)

    async def revoke(self, key_id: str, user_id: str | None, now: datetime) -> bool:
        wanted = select(api_keys.c.revoke_time).where(api_keys.c.key_id == key_id).with_for_update()
        if user_id is not None:
            wanted = wanted.where(api_keys.c.user_id == user_id)
        async with self._engine.begin() as connection:
            row = (await connection.execute(wanted)).one_or_none()
            if row is not None and row.revoke_time is None:
                ended = update(api_keys).where(api_keys.c.key_id == key_id).values(revoke_time=now)
                await connection.execute(ended)
                await revoke(connection, key_id)
        return row is not None


def _active(key_id: str, user_id: str, now: datetime) -> list[Any]:
    return [
        api_keys.c.key_id == key_id,
        api_keys.c.user_id == user_id,
        api_keys.c.revoke_time.is_(None),
        api_keys.c.expire_time > now,
    ]


def _row(key: ApiKey) -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "user_id": key.user_id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": sorted(key.scopes),
        "networks": list(key.networks),
        "given_tier": key.given_tier,
        "create_time": key.create_time,
        "expire_time": key.expire_time,
    }


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        key_id=row.key_id,
        user_id=row.user_id,
        name=row.name,
        prefix=row.prefix,
        scopes=frozenset(map(Scope, row.scopes)),
        networks=tuple(row.networks),
        given_tier=None if row.given_tier is None else RateTier(row.given_tier),
        create_time=row.create_time,
        expire_time=row.expire_time,
        last_use_time=row.last_use_time,
        revoke_time=row.revoke_time,
    )
