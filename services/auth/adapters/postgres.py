"""Users and signing keys in PostgreSQL."""

from collections.abc import Sequence

from sqlalchemy import (
    ARRAY,
    Column,
    DateTime,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    Uuid,
    exists,
    func,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.auth.domain import Account, Role, SealedKey, User, login_name
from services.auth.errors import UsernameTaken

_metadata = MetaData(schema="auth")

_users = Table(
    "users",
    _metadata,
    Column("user_id", Uuid(as_uuid=False), primary_key=True),
    Column("username", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
)

_signing_keys = Table(
    "signing_keys",
    _metadata,
    Column("kid", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
)

_name = func.lower(_users.c.username).collate("C")


class SqlUsers:
    """Users in the table ``auth.users``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, account: Account) -> None:
        try:
            async with self._engine.begin() as connection:
                await connection.execute(insert(_users).values(_row(account)))
        except IntegrityError as error:
            raise UsernameTaken(account.user.username) from error

    async def add_first_admin(self, account: Account) -> bool:
        async with self._engine.begin() as connection:
            await _one_at_a_time(connection, "auth first admin")
            an_admin = exists().where(literal(Role.ADMIN.value) == _users.c.roles.any_())
            if await connection.scalar(select(an_admin)):
                return False
            await connection.execute(insert(_users).values(_row(account)))
            return True

    async def by_name(self, username: str) -> Account | None:
        async with self._engine.connect() as connection:
            found = await connection.execute(select(_users).where(_name == login_name(username)))
            row = found.one_or_none()
        return None if row is None else Account(_user(row), row.password_hash)

    async def by_id(self, user_id: str) -> User | None:
        async with self._engine.connect() as connection:
            found = await connection.execute(select(_users).where(_users.c.user_id == user_id))
            row = found.one_or_none()
        return None if row is None else _user(row)

    async def page(self, after: str, limit: int) -> Sequence[User]:
        async with self._engine.connect() as connection:
            found = await connection.execute(select(_users).where(_name > after).order_by(_name).limit(limit))
            return [_user(row) for row in found]


class SqlSigningKeys:
    """Signing keys in the table ``auth.signing_keys``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def first(self, candidate: SealedKey) -> SealedKey:
        async with self._engine.begin() as connection:
            await _one_at_a_time(connection, "auth signing keys")
            found = await connection.execute(select(_signing_keys).order_by(_signing_keys.c.create_time).limit(1))
            if (row := found.one_or_none()) is not None:
                return SealedKey(row.kid, row.sealed, row.create_time)
            await connection.execute(
                insert(_signing_keys).values(
                    kid=candidate.kid, sealed=candidate.sealed, create_time=candidate.create_time
                )
            )
            return candidate


async def _one_at_a_time(connection: AsyncConnection, what: str) -> None:
    """Wait for other transactions that do ``what``, and hold up later ones until this one ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:what))"), {"what": what})


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
