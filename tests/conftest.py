"""Real servers for the tests: one PostgreSQL and one Redis for a run; each test gets its own database."""

import asyncio
import secrets
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from redis import Redis

from services.stack.certificates import WORKLOADS, Authority
from services.stack.ports import find_free
from services.stack.postgres import Cluster, RunAs, run_as
from services.stack.redis import RedisServer

T = TypeVar("T")

PASSWORD = "test"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of every workload, and of ``stranger``, who is in the mesh and may call nothing."""
    folder = tmp_path_factory.mktemp("certificates")
    # Longer than any run of the tests.
    Authority.open(folder, folder / "ca_private_key.pem", life=timedelta(days=1)).renew([*WORKLOADS, "stranger"])
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL cluster without databases."""
    # Not below pytest's own folder: as root the server runs as somebody else, who may not look into that.
    with tempfile.TemporaryDirectory(prefix="levimesh-postgres-") as folder:
        cluster = Cluster(Path(folder).resolve() / "data", _a_port(), PASSWORD, ephemeral=True)
        _wait(cluster.initialise())
        with _running(cluster.command, cluster.ping, Path(folder) / "log", run_as()):
            yield cluster


@pytest.fixture(scope="session")
def database_template(postgres: Cluster) -> Callable[[str], str]:
    """Names a migrated database of a service, to be copied; made when it is first asked for."""
    made: set[str] = set()

    def template(service: str) -> str:
        name = f"template_{service}"
        if name not in made:
            _wait(_make_template(postgres, service, name))
            made.add(name)
        return name

    return template


@pytest.fixture
def database_url(postgres: Cluster, database_template: Callable[[str], str]) -> Iterator[Callable[[str], str]]:
    """Makes a fresh, migrated database of a service and returns the URL of its role."""
    made: list[str] = []

    def fresh(service: str) -> str:
        name = f"{service}_{secrets.token_hex(6)}"
        template = database_template(service)
        _wait(_execute(postgres, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy'))
        made.append(name)
        # Rights and passwords are not copied with a template, and another test may have changed the role's.
        _wait(postgres.provide(name, {service: PASSWORD}))
        return postgres.url(service, PASSWORD, name)

    yield fresh
    for name in made:
        _wait(_execute(postgres, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis."""
    folder = tmp_path_factory.mktemp("redis")
    server = RedisServer(folder, _a_port(), PASSWORD)
    _wait(server.prepare())
    with _running(server.command, server.ping, folder / "log"):
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty Redis."""
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


async def _make_template(postgres: Cluster, service: str, name: str) -> None:
    from services.runtime.migrations import migrate

    await postgres.provide(name, {service: PASSWORD})
    await migrate(service, postgres.url(service, PASSWORD, name))


async def _execute(postgres: Cluster, statement: str) -> None:
    connection = await postgres.connect()
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _a_port() -> int:
    # Somewhere else at each call: several runs of the tests may be looking at once.
    return find_free(1, first=12_000 + secrets.randbelow(18_000))[0]


@contextmanager
def _running(
    command: list[str], ping: Callable[[], Awaitable[None]], log: Path, user: RunAs | None = None
) -> Iterator[None]:
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, **(user or {})) as process,  # noqa: S603 - our own command
    ):
        try:
            _wait(_until_ready(ping, process))
            yield
        except TimeoutError as error:
            raise RuntimeError(f"the server did not become ready: {log.read_text()}") from error
        finally:
            process.kill()


async def _until_ready(ping: Callable[[], Awaitable[None]], process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(Exception):
            return await ping()
        await asyncio.sleep(0.02)
    raise TimeoutError


def _wait(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end, also where this thread's event loop is busy with the test."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
