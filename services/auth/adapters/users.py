"""Users in PostgreSQL."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, delete, exists, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.auth.adapters.revocations import revoke
from services.auth.adapters.tables import authenticators, one_at_a_time, users
from services.auth.domain.users import Account, RateTier, Role, User, login_name
from services.auth.errors import LastAdmin, UsernameTaken, UserNotFound

_name = func.lower(users.c.username).collate("C")
_an_admin = literal(Role.ADMIN.value) == users.c.roles.any_()
_totp_enrolled = exists().where(authenticators.c.user_id == users.c.user_id, authenticators.c.confirmed)


class SqlUsers:
    """Users in the table ``auth.users``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, account: Account) -> None:
        try:
            async with self._engine.begin() as connection:
                await connection.execute(insert(users).values(_row(account)))
        except IntegrityError as error:
            raise UsernameTaken(account.user.username) from error

    async def add_first_admin(self, account: Account) -> bool:
        async with self._engine.begin() as connection:
            await one_at_a_time(connection, "auth first admin")
            if await connection.scalar(select(exists().where(_an_admin))):
                return False
            try:
                await connection.execute(insert(users).values(_row(account)))
            except IntegrityError as error:
                raise UsernameTaken(account.user.username) from error
            return True

    async def by_name(self, username: str) -> Account | None:
        return await self._one(_name == login_name(username))

    async def by_id(self, user_id: str) -> User | None:
        account = await self._one(users.c.user_id == user_id)
        return None if account is None else account.user

    async def page(self, after: str, limit: int) -> Sequence[User]:
        async with self._engine.connect() as connection:
            found = await connection.execute(select_users().where(_name > after).order_by(_name).limit(limit))
            return [user_of(row) for row in found]

    async def change(self, user_id: str, change: Callable[[User], User]) -> User:
        async with self._engine.begin() as connection:
            before = await _to_be_changed(connection, user_id)
            after = change(before)
            if before.administrates and not after.administrates:
                await _need_another_admin(connection, user_id)
            if before.rights != after.rights:
                await revoke(connection, before.rights_id)
            await connection.execute(update(users).where(users.c.user_id == user_id).values(_changeable(after)))
            return after

    async def remove(self, user_id: str) -> None:
        async with self._engine.begin() as connection:
            user = await _to_be_changed(connection, user_id)
            if user.administrates:
                await _need_another_admin(connection, user_id)
            await revoke(connection, user.rights_id)
            await connection.execute(delete(users).where(users.c.user_id == user_id))

    async def set_password_hash(self, user_id: str, password_hash: str, *, instead_of: str | None = None) -> bool:
        statement = update(users).where(users.c.user_id == user_id).values(password_hash=password_hash)
        if instead_of is not None:
            statement = statement.where(users.c.password_hash == instead_of)
        async with self._engine.begin() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def _one(self, condition: ColumnElement[bool]) -> Account | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(select_users().where(condition))).one_or_none()
        return None if row is None else Account(user_of(row), row.password_hash)


async def _to_be_changed(connection: AsyncConnection, user_id: str) -> User:
    """The user, whom nobody else changes until the transaction ends; nor are admins changed meanwhile."""
    await one_at_a_time(connection, "auth change of users")
    found = await connection.execute(select_users().where(users.c.user_id == user_id).with_for_update(of=users))
    if (row := found.one_or_none()) is None:
        raise UserNotFound(user_id)
    return user_of(row)


async def _need_another_admin(connection: AsyncConnection, user_id: str) -> None:
    another = exists().where(_an_admin, ~users.c.disabled, users.c.user_id != user_id)
    if not await connection.scalar(select(another)):
        raise LastAdmin(user_id)


def select_users() -> Select[Any]:
    """Users, with all that ``user_of`` needs."""
    return select(users, _totp_enrolled.label("totp_enrolled"))


def _row(account: Account) -> dict[str, object]:
    user = account.user
    return {
        "user_id": user.user_id,
        "username": user.username,
        "password_hash": account.password_hash,
        "create_time": user.create_time,
        **_changeable(user),
    }


def _changeable(user: User) -> dict[str, object]:
    return {
        "roles": sorted(user.roles),
        "disabled": user.disabled,
        "given_tier": user.given_tier,
        "rights": user.rights,
    }


def user_of(row: Row[Any]) -> User:
    """The user in a row of ``select_users``."""
    return User(
        user_id=row.user_id,
        username=row.username,
        roles=frozenset(map(Role, row.roles)),
        create_time=row.create_time,
        disabled=row.disabled,
        totp_enrolled=row.totp_enrolled,
        given_tier=None if row.given_tier is None else RateTier(row.given_tier),
        rights=row.rights,
    )
