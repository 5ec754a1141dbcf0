"""Failed logins in PostgreSQL."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.auth.adapters.tables import failed_logins
from services.auth.domain.lockout import FailedLogins, forgotten_before
from services.auth.domain.users import login_name
from services.auth.errors import LoginLocked
from services.runtime.audit import AuditLog, Outcome
from services.runtime.clock import Clock

_FORGOTTEN_AT_A_TIME = 100
_name = failed_logins.c.login_name


class SqlLoginGuard:
    """Counts failed logins in the table ``auth.failed_logins``, for all replicas together; each lock is recorded."""

    def __init__(self, engine: AsyncEngine, audit: AuditLog, now: Clock) -> None:
        self._engine = engine
        self._audit = audit
        self._now = now

    async def check(self, username: str) -> None:
        async with self._engine.connect() as connection:
            found = await connection.execute(select(failed_logins).where(_name == login_name(username)))
            self._refuse_while_locked(_failures(found.one_or_none()))

    async def failed(self, username: str) -> None:
        now = self._now()
        async with self._engine.begin() as connection:
            before = await _counted(connection, login_name(username), now)
            self._refuse_while_locked(before)
            after = before.one_more(now)
            changed = {"failures": after.count, "last_time": after.last_time}
            await connection.execute(update(failed_logins).where(_name == login_name(username)).values(changed))
            if lock := after.locked_for(now):
                await self._record(connection, username, after.count, lock)
            await self._forget_some(connection)

    async def succeeded(self, username: str) -> None:
        this_name = _name == login_name(username)
        async with self._engine.begin() as connection:
            found = await connection.execute(select(failed_logins).where(this_name).with_for_update())
            if (row := found.one_or_none()) is not None:
                self._refuse_while_locked(_failures(row))
                await connection.execute(delete(failed_logins).where(this_name))

    async def forget(self, username: str) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(delete(failed_logins).where(_name == login_name(username)))

    def _refuse_while_locked(self, failures: FailedLogins) -> None:
        if wait := failures.locked_for(self._now()):
            raise LoginLocked(wait.total_seconds())

    async def _record(self, connection: AsyncConnection, username: str, failures: int, lock: timedelta) -> None:
        await self._audit.record(
            "login_locked",
            actor=login_name(username),
            outcome=Outcome.DENIED,
            status=f"{LoginLocked.status} ERROR_REASON_{LoginLocked.reason}",
            subject={"failures": str(failures), "seconds": f"{lock.total_seconds():.0f}"},
            connection=connection,
        )

    async def _forget_some(self, connection: AsyncConnection) -> None:
        """Remove what counts no more, so that names that nobody has do not pile up."""
        old = (
            select(_name)
            .where(failed_logins.c.last_time <= forgotten_before(self._now()))
            .limit(_FORGOTTEN_AT_A_TIME)
            .with_for_update(skip_locked=True)
        )
        await connection.execute(delete(failed_logins).where(_name.in_(old)))


async def _counted(connection: AsyncConnection, name: str, now: datetime) -> FailedLogins:
    """The failures with ``name``, which nobody else counts until the transaction ends."""
    statement = insert(failed_logins).values(login_name=name, failures=0, last_time=now)
    counted = await connection.execute(
        statement.on_conflict_do_update(index_elements=[_name], set_={"login_name": name}).returning(failed_logins)
    )
    return _failures(counted.one())


def _failures(row: Row[Any] | None) -> FailedLogins:
    return FailedLogins() if row is None else FailedLogins(row.failures, row.last_time)
