"""Authenticators and recovery codes in PostgreSQL; their secrets are encrypted and bound to the user."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from services.auth.adapters.sealing import Sealer
from services.auth.adapters.tables import authenticators, recovery_codes
from services.auth.domain.totp import CodeUse, Enrolment
from services.auth.errors import TotpEnrolled

_user = authenticators.c.user_id


class SqlAuthenticators:
    """Authenticators in the table ``auth.authenticators``, with recovery codes in ``auth.recovery_codes``."""

    def __init__(self, engine: AsyncEngine, sealer: Sealer) -> None:
        self._engine = engine
        self._sealer = sealer

    async def reseal(self) -> None:
        """Encrypt what a former key-encryption key encrypted with the one of today. Raises SealBroken."""
        async with self._engine.begin() as connection:
            for row in await connection.execute(select(authenticators).with_for_update()):
                resealed = self._sealer.resealed(row.sealed, of=_of(row.user_id))
                if resealed is not None:
                    await connection.execute(update(authenticators).where(_user == row.user_id).values(sealed=resealed))

    async def begin(self, user_id: str, secret: str) -> None:
        sealed = self._sealer.seal(secret.encode(), of=_of(user_id))
        statement = upsert(authenticators).values(user_id=user_id, sealed=sealed, confirmed=False, last_step=0)
        begin = statement.on_conflict_do_update(
            index_elements=[_user], set_={"sealed": sealed}, where=~authenticators.c.confirmed
        )
        if not await self._changed(begin):
            raise TotpEnrolled

    async def of(self, user_id: str) -> Enrolment | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(authenticators).where(_user == user_id))).one_or_none()
        if row is None:
            return None
        return Enrolment(self._sealer.unseal(row.sealed, of=_of(user_id)).decode(), row.confirmed)

    async def confirm(self, user_id: str, secret: str, step: int, code_hashes: Collection[bytes]) -> bool:
        async with self._engine.begin() as connection:
            pending = select(authenticators).where(_user == user_id).with_for_update()
            row = (await connection.execute(pending)).one_or_none()
            if row is None or row.confirmed or self._sealer.unseal(row.sealed, of=_of(user_id)) != secret.encode():
                return False
            await connection.execute(
                update(authenticators).where(_user == user_id).values(confirmed=True, last_step=step)
            )
            codes = [{"user_id": user_id, "code_hash": code_hash, "used": False} for code_hash in code_hashes]
            await connection.execute(insert(recovery_codes), codes)
            return True

    async def use_step(self, user_id: str, step: int) -> bool:
        unused = (_user == user_id, authenticators.c.confirmed, authenticators.c.last_step < step)
        return await self._changed(update(authenticators).where(*unused).values(last_step=step))

    async def use_recovery_code(self, user_id: str, code_hash: bytes) -> CodeUse:
        this_one = (recovery_codes.c.user_id == user_id, recovery_codes.c.code_hash == code_hash)
        if await self._changed(update(recovery_codes).where(*this_one, ~recovery_codes.c.used).values(used=True)):
            return CodeUse.RIGHT
        async with self._engine.connect() as connection:
            return CodeUse.AGAIN if await connection.scalar(select(exists().where(*this_one))) else CodeUse.WRONG

    async def remove(self, user_id: str) -> None:
        await self._changed(delete(authenticators).where(_user == user_id))

    async def _changed(self, statement: Any) -> bool:
        async with self._engine.begin() as connection:
            return bool((await connection.execute(statement)).rowcount)


def _of(user_id: str) -> str:
    return f"authenticator of {user_id}"
