"""PostgreSQL and Redis of the stack, killed in every way."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from services.stack.database import Database
from services.stack.ports import find_free
from services.stack.postgres import Cluster, run_as
from services.stack.settings import StackSettings
from services.stack.state import Memory, Secrets, State
from services.stack.supervisor import Supervisor
from services.stack.topology import processes

SECONDS = 30.0
_BUSY = """SELECT true FROM pg_stat_activity
           WHERE state = 'active' AND wait_event IS NULL AND query LIKE '%generate_series%'
           AND pid <> pg_backend_pid()"""


class Servers:
    """PostgreSQL and Redis with a state folder of their own."""

    def __init__(self, folder: Path) -> None:
        postgres_port, redis_port = find_free(2, first=25_000)
        settings = StackSettings(state=folder, postgres_port=postgres_port, redis_port=redis_port)
        state = State.at(folder)
        self.secrets = Secrets.of(state)
        self.cluster = Cluster(folder / "postgres", postgres_port, self.secrets.postgres)
        self.redis_url = f"redis://:{self.secrets.redis}@127.0.0.1:{redis_port}/0"
        found = processes(settings, state, self.secrets, Memory("simex"))
        self._processes = [process for process in found if process.name in {"postgres", "redis"}]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Supervisor]:
        supervisor = Supervisor(self._processes, lambda: None)
        supervisor.start()
        try:
            async with asyncio.timeout(SECONDS):
                await supervisor.wait_until_ready()
            yield supervisor
        finally:
            await supervisor.stop()

    async def connect(self, role: str) -> "asyncpg.Connection":
        return await asyncpg.connect(self.url(role))

    async def wait_for_a_busy_backend(self) -> None:
        """One that computes looks neither at signals nor at whether its server lives."""
        connection = await self.cluster.connect()
        async with asyncio.timeout(SECONDS):
            while not await connection.fetchval(_BUSY):  # noqa: ASYNC110 - seen only by looking
                await asyncio.sleep(0.02)
        await connection.close()

    def url(self, role: str) -> str:
        url = Database(self.cluster, self.secrets.roles).url(role)
        return url.replace("postgresql+asyncpg", "postgresql")


@pytest.fixture
def servers(tmp_path: Path) -> Servers:
    """Servers that have never run."""
    return Servers(tmp_path)


async def kill(supervisor: Supervisor, name: str) -> None:
    """Kill a process and wait until its successor is ready."""
    victim = supervisor[name].pid
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    await until(lambda: supervisor[name].pid not in {victim, None} and supervisor.are_ready)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - what becomes of a process is seen only by looking
            await asyncio.sleep(0.02)


async def test_a_killed_postgres_comes_back_with_all_that_was_committed_though_a_backend_was_busy(
    servers: Servers,
) -> None:
    async with servers.running() as supervisor:
        connection = await servers.connect("trading")
        await connection.execute("CREATE TABLE trading.kept (id int); INSERT INTO trading.kept VALUES (1)")
        busy = asyncio.create_task(
            connection.execute("SELECT max(i) FROM (SELECT generate_series(1, 1000000000000) i)")
        )
        await servers.wait_for_a_busy_backend()

        await kill(supervisor, "postgres")

        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await busy
        connection.terminate()
        again = await servers.connect("trading")
        assert await again.fetchval("SELECT count(*) FROM trading.kept") == 1
        await again.close()
        assert supervisor["redis"].restarts == 0


async def test_a_killed_redis_comes_back_with_what_it_had_acknowledged(servers: Servers) -> None:
    async with servers.running() as supervisor:
        async with Redis.from_url(servers.redis_url) as client:
            await client.xadd("topic", {"event": "1"})

        await kill(supervisor, "redis")

        async with Redis.from_url(servers.redis_url) as client:
            assert await client.xlen("topic") == 1
        assert supervisor["postgres"].restarts == 0


async def test_a_pid_file_that_names_somebody_else_does_not_keep_postgres_from_starting(servers: Servers) -> None:
    async with servers.running():
        pass
    somebody = await asyncio.create_subprocess_exec("sleep", "60", **run_as())
    (servers.cluster.data / "postmaster.pid").write_text(f"{somebody.pid}\n{servers.cluster.data}\n")

    async with servers.running() as supervisor:
        assert supervisor["postgres"].restarts == 0

    assert somebody.returncode is None
    somebody.kill()
    await somebody.wait()


async def test_a_cluster_whose_making_was_interrupted_is_made_again(servers: Servers) -> None:
    servers.cluster.data.mkdir(parents=True)
    (servers.cluster.data / "half").touch()

    async with servers.running() as supervisor:
        assert supervisor["postgres"].restarts == 0


async def test_a_schema_is_migrated_once_and_not_looked_at_again_until_its_migrations_change(servers: Servers) -> None:
    async with servers.running():
        first = Database(servers.cluster, servers.secrets.roles)
        await first.ready()
        await first.migration("auth")()
        connection = await servers.connect("auth")
        assert await connection.fetchval("SELECT count(*) FROM auth.alembic_version") == 1
        await connection.execute("DROP TABLE auth.alembic_version")

        second = Database(servers.cluster, servers.secrets.roles)
        await second.ready()
        await second.migration("auth")()

        assert await connection.fetchval("SELECT to_regclass('auth.alembic_version')") is None
        await connection.close()


async def test_the_superuser_of_another_cluster_is_refused(servers: Servers) -> None:
    async with servers.running():
        with pytest.raises(asyncpg.InvalidPasswordError):
            await replace(servers.cluster, password="wrong").ping()
