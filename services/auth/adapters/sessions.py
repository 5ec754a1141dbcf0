"""Sessions and refresh tokens in PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, Update, exists, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.auth.adapters.purging import purge
from services.auth.adapters.revocations import revoke
from services.auth.adapters.tables import refresh_tokens, sessions, users
from services.auth.adapters.users import select_users, user_of
from services.auth.domain.sessions import Exchange, Origin, RefreshToken, Session
from services.auth.domain.users import User
from services.auth.errors import RefreshTokenReused
from services.runtime.audit import AuditLog, Outcome

_KEPT_AFTER_ITS_END = timedelta(days=1)
_NOT_ENDED = sessions.c.end_time.is_(None)
_AT_ANOTHER_ISSUER = ~exists().where(refresh_tokens.c.session_id == sessions.c.session_id)
"""A login there has no refresh token of ours; it goes on with whatever token its issuer gives out next."""


class SqlSessions:
    """The tables ``auth.sessions`` and ``auth.refresh_tokens``."""

    def __init__(self, engine: AsyncEngine, audit: AuditLog, *, answers_kept: timedelta, most: int) -> None:
        self._engine = engine
        self._audit = audit
        self._answers_kept = answers_kept
        self._most = most

    async def begin(self, session: Session, fingerprint: bytes, proved: datetime) -> bool:
        its_user = select(users.c.sessions_end_time).where(users.c.user_id == session.user_id)
        async with self._engine.begin() as connection:
            row = (await connection.execute(its_user.with_for_update(key_share=True))).one_or_none()
            if row is None or (row.sessions_end_time is not None and row.sessions_end_time > proved):
                return False
            await connection.execute(insert(sessions).values(_row(session)))
            await _add_token(connection, fingerprint, session)
            await self._end_oldest(connection, session)
            return True

    async def _end_oldest(self, connection: AsyncConnection, begun: Session) -> None:
        """End those of the user of ``begun`` that are too many with it."""
        active = (_NOT_ENDED, sessions.c.expire_time > begun.create_time, ~_AT_ANOTHER_ISSUER)
        theirs = select(sessions.c.session_id).where(sessions.c.user_id == begun.user_id, *active)
        # Whatever the clocks of replicas say, not the one that has just begun.
        newest_first = (sessions.c.session_id != begun.session_id, sessions.c.create_time.desc())
        too_many = theirs.order_by(*newest_first).offset(self._most)
        await _end(connection, update(sessions).where(sessions.c.session_id.in_(too_many)), begun.create_time)

    @asynccontextmanager
    async def present(self, fingerprint: bytes) -> "AsyncIterator[PresentedInSql | None]":
        async with self._engine.begin() as connection:
            yield await _present(connection, self._audit, fingerprint)

    async def end(self, session_id: str, user_id: str, now: datetime) -> bool | None:
        its = (sessions.c.session_id == session_id, sessions.c.user_id == user_id)
        async with self._engine.begin() as connection:
            if await _end(connection, update(sessions).where(*its), now):
                return True
            known = await connection.scalar(select(func.count()).select_from(sessions).where(*its))
            return False if known else None

    async def end_all_of_user(self, user_id: str, now: datetime, *, but: str | None = None) -> int:
        theirs = update(sessions).where(sessions.c.user_id == user_id)
        theirs = theirs.where((sessions.c.expire_time > now) | _AT_ANOTHER_ISSUER)
        if but is not None:
            theirs = theirs.where(sessions.c.session_id != but)
        the_user = update(users).where(users.c.user_id == user_id).values(sessions_end_time=now)
        async with self._engine.begin() as connection:
            await connection.execute(the_user)
            return await _end(connection, theirs, now)

    async def active_of_user(
        self, user_id: str, now: datetime, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Session]:
        position = tuple_(sessions.c.create_time, sessions.c.session_id)
        theirs = select(sessions).where(sessions.c.user_id == user_id, _NOT_ENDED, sessions.c.expire_time > now)
        if after is not None:
            theirs = theirs.where(position < after)
        newest_first = theirs.order_by(sessions.c.create_time.desc(), sessions.c.session_id.desc()).limit(limit)
        async with self._engine.connect() as connection:
            return [session_of(row) for row in await connection.execute(newest_first)]

    async def forget(self, now: datetime) -> None:
        too_late = (refresh_tokens.c.answer.is_not(None), refresh_tokens.c.use_time < now - self._answers_kept)
        long_ago = now - _KEPT_AFTER_ITS_END
        async with self._engine.begin() as connection:
            await connection.execute(update(refresh_tokens).where(*too_late).values(answer=None))
        expired, ended = sessions.c.expire_time < long_ago, sessions.c.end_time < long_ago
        await purge(self._engine, sessions, expired | (ended & ~_AT_ANOTHER_ISSUER))
        used = refresh_tokens.c.use_time.is_not(None)
        await purge(self._engine, refresh_tokens, used, refresh_tokens.c.expire_time < now)


class PresentedInSql:
    """A refresh token and its session, locked until the transaction of ``connection`` ends."""

    def __init__(
        self, connection: AsyncConnection, audit: AuditLog, token: RefreshToken, session: Session, user: User
    ) -> None:
        self._connection = connection
        self._audit = audit
        self.token = token
        self.session = session
        self.user = user

    async def exchange(self, exchange: Exchange, successor: bytes, session: Session) -> None:
        used = update(refresh_tokens).where(refresh_tokens.c.fingerprint == self.token.fingerprint)
        renewed = update(sessions).where(sessions.c.session_id == session.session_id)
        await self._connection.execute(
            used.values(use_time=exchange.time, request_id=exchange.request_id, answer=exchange.answer)
        )
        await _add_token(self._connection, successor, session)
        await self._connection.execute(
            renewed.values(refresh_time=session.refresh_time, expire_time=session.expire_time)
        )

    async def end_for_reuse(self, now: datetime) -> None:
        session = self.session
        await _end(self._connection, update(sessions).where(sessions.c.session_id == session.session_id), now)
        await self._audit.record(
            "refresh_token_reused",
            actor=session.user_id,
            outcome=Outcome.DENIED,
            status=f"{RefreshTokenReused.status} ERROR_REASON_{RefreshTokenReused.reason}",
            session_id=session.session_id,
            connection=self._connection,
        )


async def _present(connection: AsyncConnection, audit: AuditLog, fingerprint: bytes) -> PresentedInSql | None:
    its_own = (refresh_tokens.c[name] for name in ("fingerprint", "use_time", "request_id", "answer"))
    until = refresh_tokens.c.expire_time.label("token_expire_time")
    both: Select[Any] = select(*its_own, until, sessions)
    both = both.join(sessions, refresh_tokens.c.session_id == sessions.c.session_id)
    this_one = both.where(refresh_tokens.c.fingerprint == fingerprint).with_for_update(of=[refresh_tokens, sessions])
    row = (await connection.execute(this_one)).one_or_none()
    if row is None:
        return None
    # Only now: whoever held the lock may have waited for a change of the user.
    user = (await connection.execute(select_users().where(users.c.user_id == row.user_id))).one_or_none()
    if user is None:
        return None
    exchange = None if row.use_time is None else Exchange(row.use_time, row.request_id, row.answer)
    token = RefreshToken(fingerprint, row.token_expire_time, exchange)
    return PresentedInSql(connection, audit, token, session_of(row), user_of(user))


async def _add_token(connection: AsyncConnection, fingerprint: bytes, session: Session) -> None:
    """The next refresh token of ``session``, which is good as long as that is unless it is renewed."""
    row = {"fingerprint": fingerprint, "session_id": session.session_id, "expire_time": session.expire_time}
    await connection.execute(insert(refresh_tokens).values(row))


async def _end(connection: AsyncConnection, these: Update, now: datetime) -> int:
    """End the sessions of ``these`` that have not ended, and list them as revoked; how many there were."""
    ended = await connection.execute(these.where(_NOT_ENDED).values(end_time=now).returning(sessions.c.session_id))
    session_ids = ended.scalars().all()
    await revoke(connection, *session_ids)
    return len(session_ids)


def _row(session: Session) -> dict[str, object]:
    return {
        "session_id": session.session_id,
        "user_id": session.user_id,
        "create_time": session.create_time,
        "refresh_time": session.refresh_time,
        "expire_time": session.expire_time,
        "end_time": session.end_time,
        "address": session.origin.address,
        "user_agent": session.origin.user_agent,
        "scopes": None if session.scopes is None else sorted(session.scopes),
    }


def session_of(row: Row[Any]) -> Session:
    """The session in a row of its table."""
    return Session(
        session_id=row.session_id,
        user_id=row.user_id,
        create_time=row.create_time,
        refresh_time=row.refresh_time,
        expire_time=row.expire_time,
        origin=Origin(row.address, row.user_agent),
        end_time=row.end_time,
        scopes=None if row.scopes is None else frozenset(row.scopes),
    )
