"""Authorization codes in PostgreSQL."""

from datetime import timedelta

from sqlalchemy import delete, func, insert, update
from sqlalchemy.ext.asyncio import AsyncEngine

from services.auth.adapters.tables import authorization_codes as codes
from services.auth.domain.oauth import AuthorizationCode
from services.auth.ports.oauth import CodeUse

_KEPT = timedelta(days=1)
"""After its end, so that a second use of a code still ends the session that came of it."""


class SqlCodes:
    """The table ``auth.authorization_codes``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, code: AuthorizationCode) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(delete(codes).where(codes.c.expire_time < func.now() - _KEPT))
            await connection.execute(
                insert(codes).values(
                    code_hash=code.code_hash,
                    client_id=code.client_id,
                    redirect_uri=code.redirect_uri,
                    code_challenge=code.code_challenge,
                    scope=code.scope,
                    nonce=code.nonce,
                    user_id=code.user_id,
                    expire_time=code.expire_time,
                    uses=0,
                )
            )

    async def use(self, code_hash: bytes) -> CodeUse | None:
        used = update(codes).where(codes.c.code_hash == code_hash).values(uses=codes.c.uses + 1).returning(codes)
        async with self._engine.begin() as connection:
            row = (await connection.execute(used)).one_or_none()
        if row is None:
            return None
        bound = (row.client_id, row.redirect_uri, row.code_challenge, row.scope, row.nonce)
        code = AuthorizationCode(code_hash, *bound, row.user_id, row.expire_time)
        return CodeUse(code, row.uses == 1, row.session_id)

    async def came_to(self, code_hash: bytes, session_id: str) -> bool:
        noted = update(codes).where(codes.c.code_hash == code_hash).values(session_id=session_id)
        async with self._engine.begin() as connection:
            uses = await connection.scalar(noted.returning(codes.c.uses))
        return bool(uses == 1)
