"""What auth keeps in PostgreSQL: keys that replicas share and nobody can read, and users that outlive it."""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from levimesh.auth.v1 import user_service_pb2 as pb
from services.auth.adapters.ed25519 import KeyNotOpened
from services.auth.adapters.external_people import SqlExternalPeople
from services.auth.adapters.sessions import SqlSessions
from services.auth.bootstrap import open_auth
from services.auth.domain.external import ExternalPerson
from services.auth.domain.users import Role
from services.auth.settings import AuthSettings
from services.runtime.clock import utc_now
from services.runtime.database import open_database
from services.runtime.migrations import migrate
from services.stack.postgres import Cluster
from tests.audit import RememberedAudit
from tests.auth import ADMIN_PASSWORD, auth_settings, quick_hasher, running_auth
from tests.conftest import PASSWORD
from tests.mesh import error_info


async def key_of_a_replica(settings: AuthSettings) -> str:
    async with (
        open_database(settings.database_url) as engine,
        open_auth(settings, engine, RememberedAudit(), hasher=quick_hasher()) as auth,
    ):
        return (await auth.keys())[0]["x"]


async def test_replicas_that_start_at_once_sign_with_the_same_key(database_url: Callable[[str], str]) -> None:
    settings = auth_settings(database_url("auth"))

    keys = await asyncio.gather(*(key_of_a_replica(settings) for _ in range(4)))

    assert len(set(keys)) == 1


async def test_tokens_and_users_outlive_a_restart(database_url: Callable[[str], str], certificates: Path) -> None:
    settings = auth_settings(database_url("auth"))
    async with running_auth(settings, certificates) as before:
        await before.create_admin()
        token = await before.login()

    async with running_auth(settings, certificates) as after:
        assert await after.login()
        current = await after.users().GetCurrentUser(pb.GetCurrentUserRequest(), metadata=token)

    assert current.user.username == "root"


async def test_another_key_encryption_key_is_refused_at_start(database_url: Callable[[str], str]) -> None:
    url = database_url("auth")
    await key_of_a_replica(auth_settings(url))
    other = base64.b64encode(b"another key of thirty-two bytes!").decode()

    with pytest.raises(KeyNotOpened, match="AUTH_KEY_ENCRYPTION_KEY"):
        await key_of_a_replica(auth_settings(url, key_encryption_key=other))


async def test_what_is_stored_shows_neither_passwords_nor_keys(
    database_url: Callable[[str], str], certificates: Path
) -> None:
    url = database_url("auth")
    async with running_auth(auth_settings(url), certificates) as running:
        await running.create_admin()

    async with open_database(SecretStr(url)) as engine, engine.connect() as connection:
        stored_hash = (await connection.execute(text("SELECT password_hash FROM auth.users"))).scalar_one()
        sealed = (await connection.execute(text("SELECT sealed FROM auth.signing_keys"))).scalar_one()

    assert stored_hash.startswith("$argon2id$")
    assert ADMIN_PASSWORD not in stored_hash
    assert len(sealed) == 12 + 32 + 16, "a nonce, the key and the tag"


async def test_while_the_database_is_away_callers_are_told_to_come_back(
    postgres: Cluster, database_url: Callable[[str], str], certificates: Path
) -> None:
    url = database_url("auth")
    name = url.rsplit("/", 1)[1]
    async with running_auth(auth_settings(url), certificates) as running:
        await running.create_admin()
        connection = await postgres.connect()
        await connection.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0')
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await running.login()

        await connection.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')
        await connection.close()
        assert await running.login()

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert error_info(refused.value).reason == "ERROR_REASON_DEPENDENCY_UNAVAILABLE"


async def test_what_an_earlier_version_kept_stays_good(database_url: Callable[[str], str], postgres: Cluster) -> None:
    url, ann, session, soon = database_url("auth"), uuid4(), uuid4(), utc_now() + timedelta(days=3)
    connection = await postgres.connect(url.rsplit("/", 1)[1])
    try:
        await connection.execute("DROP SCHEMA auth CASCADE")
        await connection.execute("CREATE SCHEMA auth AUTHORIZATION auth")
        await postgres.provide(url.rsplit("/", 1)[1], {"auth": PASSWORD})
        await migrate("auth", url, "0007")
        await connection.execute(
            "INSERT INTO auth.users (user_id, username, password_hash, roles, create_time) "
            "VALUES ($1, 'ann', '', ARRAY['ROLE_VIEWER'], now())",
            ann,
        )
        await connection.execute(
            "INSERT INTO auth.sessions VALUES ($1, $2, now(), now(), $3, NULL, '', '')",
            session,
            ann,
            soon,
        )
        await connection.execute("INSERT INTO auth.refresh_tokens (fingerprint, session_id) VALUES ('x', $1)", session)
        await connection.execute("INSERT INTO auth.external_people VALUES ('https://id.example.com', '1', $1)", ann)
    finally:
        await connection.close()

    await migrate("auth", url)

    now = utc_now()
    person = ExternalPerson("https://id.example.com", "1", "ann", frozenset({Role.VIEWER}), str(uuid4()), now, soon)
    async with open_database(SecretStr(url)) as engine:
        sessions = SqlSessions(engine, RememberedAudit(), answers_kept=timedelta(), most=1)
        async with sessions.present(b"x") as presented:
            assert presented is not None
            assert presented.session.scopes is None
            assert presented.token.expire_time == soon
        older = replace(person, issue_time=datetime(1969, 7, 20, tzinfo=UTC), roles=frozenset({Role.ADMIN}))
        for each in (older, person):
            standing = await SqlExternalPeople(engine, uuid4).standing(each, now)
            assert standing is not None
            assert standing.roles == {Role.VIEWER}
