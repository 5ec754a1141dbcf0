"""People whom other issuers vouch for, in PostgreSQL."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, insert, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.auth.adapters.sessions import session_of
from services.auth.adapters.tables import external_people, one_at_a_time, sessions, users
from services.auth.adapters.users import select_users, user_of
from services.auth.domain.external import ExternalPerson, Standing
from services.auth.domain.sessions import Origin, Session
from services.auth.domain.users import Role, User

_NO_PASSWORD = ""
"""The hash of no password."""


class SqlExternalPeople:
    """The table ``auth.external_people``, and what it says of users and sessions."""

    def __init__(self, engine: AsyncEngine, new_id: Callable[[], UUID]) -> None:
        self._engine = engine
        self._new_id = new_id

    async def standing(self, person: ExternalPerson, now: datetime) -> Standing | None:
        async with self._engine.connect() as connection:
            known = await _find(connection, person)
        if known is None:
            return await self._add(person, now) if person.roles else None
        standing, issue_time = known
        if person.issue_time < issue_time or (person.issue_time, person.roles) == (issue_time, standing.roles):
            return standing
        return await self._learn(person)

    async def session(self, person: ExternalPerson, user: User, origin: Origin, now: datetime) -> Session:
        begun = postgresql.insert(sessions).values(
            session_id=person.session_id,
            user_id=user.user_id,
            create_time=now,
            refresh_time=now,
            expire_time=person.expire_time,
            address=origin.address,
            user_agent=origin.user_agent,
        )
        renewed = begun.on_conflict_do_update(
            index_elements=["session_id"],
            set_={"refresh_time": now, "expire_time": func.greatest(sessions.c.expire_time, person.expire_time)},
        )
        async with self._engine.begin() as connection:
            return session_of((await connection.execute(renewed.returning(sessions))).one())

    async def _learn(self, person: ExternalPerson) -> Standing | None:
        """Keep what the token of ``person`` says, unless a newer one has been faster."""
        newer = update(external_people).where(*_this_one(person), external_people.c.issue_time <= person.issue_time)
        async with self._engine.begin() as connection:
            await connection.execute(newer.values(issue_time=person.issue_time, roles=sorted(person.roles)))
            known = await _find(connection, person)
        return None if known is None else known[0]

    async def _add(self, person: ExternalPerson, now: datetime) -> Standing:
        async with self._engine.begin() as connection:
            # Two first calls of one person at once.
            await one_at_a_time(connection, "auth external people")
            if (known := await _find(connection, person)) is not None:
                return known[0]
            user = await _new_user(connection, person, str(self._new_id()), now)
            ids = {"issuer": person.issuer, "subject": person.subject, "user_id": user.user_id}
            said = {"issue_time": person.issue_time, "roles": sorted(person.roles)}
            await connection.execute(insert(external_people).values(**ids, **said))
            return Standing(user, person.roles)


def _this_one(person: ExternalPerson) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return external_people.c.issuer == person.issuer, external_people.c.subject == person.subject


async def _find(connection: AsyncConnection, person: ExternalPerson) -> tuple[Standing, datetime] | None:
    """Who the person is, and when the newest token was issued."""
    newest = (external_people.c.issue_time, external_people.c.roles.label("newest_roles"))
    theirs = select_users().join(external_people, external_people.c.user_id == users.c.user_id).add_columns(*newest)
    row = (await connection.execute(theirs.where(*_this_one(person)))).one_or_none()
    if row is None:
        return None
    return Standing(user_of(row), frozenset(map(Role, row.newest_roles))), row.issue_time


async def _new_user(connection: AsyncConnection, person: ExternalPerson, user_id: str, now: datetime) -> User:
    """A user with the best name of ``person`` that nobody has."""
    row = {
        "user_id": user_id,
        "password_hash": _NO_PASSWORD,
        "create_time": now,
        "roles": sorted(person.roles),
        "disabled": False,
        "rights": 1,
    }
    for name in person.names():
        added = postgresql.insert(users).values(username=name, **row).on_conflict_do_nothing()
        if (await connection.execute(added)).rowcount:
            return User(user_id, name, person.roles, now)
    raise AssertionError("the last name is nobody else's")
