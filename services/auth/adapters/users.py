"""Users in PostgreSQL."""

from collections.abc import Sequence

from sqlalchemy import Row, exists, func, insert, literal, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.auth.adapters.tables import one_at_a_time, users
from services.auth.domain.users import Account, Role, User, login_name
from services.auth.errors import UsernameTaken

_name = func.lower(users.c.username).collate("C")


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
            an_admin = exists().where(literal(Role.ADMIN.value) == users.c.roles.any_())
            if await connection.scalar(select(an_admin)):
                return False
            await connection.execute(insert(users).values(_row(account)))
            return True

    async def by_name(self, username: str) -> Account | None:
        async with self._engine.connect() as connection:
            found = await connection.execute(select(users).where(_name == login_name(username)))
            row = found.one_or_none()
        return None if row is None else Account(_user(row), row.password_hash)

    async def by_id(self, user_id: str) -> User | None:
        async with self._engine.connect() as connection:
            found = await connection.execute(select(users).where(users.c.user_id == user_id))
            row = found.one_or_none()
        return None if row is None else _user(row)

    async def page(self, after: str, limit: int) -> Sequence[User]:
        async with self._engine.connect() as connection:
            found = await connection.execute(select(users).where(_name > after).order_by(_name).limit(limit))
            return [_user(row) for row in found]


def _row(account: Account) -> dict[str, object]:
    user = account.user
    return {
        "user_id": user.user_id,
        "username": user.username,
        "password_hash": account.password_hash,
        "roles": sorted(user.roles),
        "create_time": user.create_time,
    }


def _user(row: Row[tuple[object, ...]]) -> User:
    return User(row.user_id, row.username, frozenset(map(Role, row.roles)), row.create_time)
