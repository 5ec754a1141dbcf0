"""Passwords change while a service runs: it goes on with the new ones, and no call fails."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.runtime.database import open_database
from services.runtime.journal import START, open_journal
from services.runtime.secret_files import SecretFile
from services.stack.postgres import Cluster
from services.stack.redis import RedisServer
from tests.auth import RunningAuth, auth_settings, running_auth
from tests.conftest import PASSWORD


class Role:
    """The role ``auth`` of a database, the file with its URL, and whoever is connected."""

    def __init__(self, admin: "asyncpg.Connection", url: str, file: Path) -> None:
        self._admin = admin
        self._url = url
        self.file = file
        self.write(PASSWORD)

    def write(self, password: str) -> None:
        staged = self.file.with_suffix(".new")
        staged.touch(mode=0o600)
        staged.write_text(self._url.replace(f":{PASSWORD}@", f":{password}@"))
        staged.replace(self.file)

    async def set(self, password: str) -> None:
        statement = await self._admin.fetchval("SELECT format('ALTER ROLE auth PASSWORD %L', $1::text)", password)
        await self._admin.execute(statement)

    async def end_connections(self) -> None:
        """As a restart or an idle limit of the server does it."""
        await self._admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'auth'")


@pytest.fixture
async def role(postgres: Cluster, database_url: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Role]:
    url, admin = database_url("auth"), await postgres.connect()
    role = Role(admin, url, tmp_path / "AUTH_DATABASE_URL")
    yield role
    await role.set(PASSWORD)
    await admin.close()


@pytest.fixture
async def auth(role: Role, certificates: Path) -> AsyncIterator[RunningAuth]:
    settings = auth_settings("").model_copy(update={"database_url": SecretFile(role.file)})
    async with running_auth(settings, certificates) as running:
        await running.create_admin()
        yield running


async def test_a_service_outlives_every_change_of_its_database_password(auth: RunningAuth, role: Role) -> None:
    for _ in range(3):
        password = secrets.token_urlsafe(12)
        await role.set(password)
        role.write(password)
        await auth.login()
        await role.end_connections()
        await auth.login()


@pytest.mark.parametrize("first", ["the file", "the server"])
async def test_a_call_between_the_two_halves_of_a_change_waits_for_the_other_half(
    role: Role, caplog: pytest.LogCaptureFixture, first: str
) -> None:
    async with open_database(SecretFile(role.file)) as engine:
        await who(engine)
        await role.end_connections()
        if first == "the file":
            role.write("another")
        else:
            await role.set("another")
        with caplog.at_level(logging.WARNING):
            call = asyncio.create_task(who(engine))
            async with asyncio.timeout(5):
                while "refuses the password" not in caplog.text:  # noqa: ASYNC110 - it is told by nothing else
                    await asyncio.sleep(0.01)
        await role.set("another")
        role.write("another")

        assert await call == "auth"


async def test_a_password_that_stays_wrong_is_an_error(role: Role) -> None:
    role.write("wrong")
    async with open_database(SecretFile(role.file)) as engine:
        with pytest.raises(DBAPIError, match="password authentication failed") as refused:
            await who(engine)

    assert "wrong" not in str(refused.value)


async def test_the_journal_outlives_a_change_of_the_password_of_redis(
    redis_server: RedisServer, redis_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "REDIS_URL"
    admin: Any
    async with Redis.from_url(redis_url) as admin:
        await admin.execute_command("ACL", "SETUSER", "rotating", "on", ">one", "~*", "&*", "+@all")
        file.touch(mode=0o600)
        file.write_text(f"redis://rotating:one@127.0.0.1:{redis_server.port}/0")
        async with open_journal(SecretFile(file)) as journal:
            await journal.append("topic", [("key", b"one")])

            await admin.execute_command("ACL", "SETUSER", "rotating", "<one", ">two")
            file.write_text(file.read_text().replace(":one@", ":two@"))
            await admin.execute_command("CLIENT", "KILL", "USER", "rotating")

            await journal.append("topic", [("key", b"two")])
            assert [entry.event for entry in await journal.read("topic", START, 10)] == [b"one", b"two"]
        await admin.execute_command("ACL", "DELUSER", "rotating")


async def who(engine: AsyncEngine) -> str:
    async with engine.connect() as connection:
        return str(await connection.scalar(text("SELECT current_user")))
