"""Signing keys in PostgreSQL, as time passes and replicas come and go."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path

import jwt
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from levimesh.auth.v1 import auth_service_pb2 as pb
from services.auth.adapters.sealing import Sealer
from services.auth.adapters.signing_keys import SqlSigningKeys
from services.auth.bootstrap import Auth, open_auth
from services.auth.sessions import follow_key_encryption
from services.auth.settings import AuthSettings
from services.runtime.database import open_database
from services.runtime.secret_files import SecretFile
from services.runtime.tokens import TokenVerifier
from tests.audit import RememberedAudit
from tests.auth import A_KEY_ENCRYPTION_KEY, SetClock, auth_settings, quick_hasher, running_auth
from tests.mesh import AUDIENCE, ISSUER

DAYS = 10
OVERLAP = 600
ANOTHER_KEY = base64.b64encode(bytes(31) + b"1").decode()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def settings(database_url: Callable[[str], str]) -> AuthSettings:
    return auth_settings(database_url("auth"), signing_key_days=DAYS, signing_key_overlap_seconds=OVERLAP)


@pytest.fixture
async def replicas(settings: AuthSettings, clock: SetClock) -> AsyncIterator[list[Auth]]:
    """Four of them, which started at once."""
    async with AsyncExitStack() as stack:
        yield list(await asyncio.gather(*(a_replica(stack, settings, clock) for _ in range(4))))


async def a_replica(stack: AsyncExitStack, settings: AuthSettings, clock: SetClock) -> Auth:
    engine = await stack.enter_async_context(open_database(settings.database_url))
    auth = open_auth(settings, engine, RememberedAudit(), hasher=quick_hasher(), now=clock)
    return await stack.enter_async_context(auth)


async def rotate_all(replicas: list[Auth]) -> None:
    await asyncio.gather(*(replica.issuing.rotate() for replica in replicas))


async def published(replica: Auth) -> list[str]:
    return [key["kid"] for key in await replica.keys()]


async def stored(settings: AuthSettings) -> list[str]:
    async with open_database(settings.database_url) as engine, engine.connect() as connection:
        rows = await connection.execute(text("SELECT kid FROM auth.signing_keys ORDER BY sign_time"))
        return list(rows.scalars())


async def test_replicas_follow_one_another_to_the_same_next_key_by_way_of_an_overlap(
    replicas: list[Auth], settings: AuthSettings, clock: SetClock
) -> None:
    (first,) = await stored(settings)

    clock.move(days=DAYS, seconds=-OVERLAP)
    await rotate_all(replicas)

    known, second = await stored(settings)
    assert known == first
    for replica in replicas:
        assert await published(replica) == [first, second], "published, and the old one signs"
    clock.move(seconds=OVERLAP)
    for replica in replicas:
        assert await published(replica) == [second, first], "it signs without being told"
    clock.move(seconds=settings.token_lifetime_seconds + OVERLAP + 1)
    await rotate_all(replicas)
    assert await stored(settings) == [second]
    for replica in replicas:
        assert await published(replica) == [second]


async def test_whoever_keeps_the_published_keys_for_a_minute_always_finds_the_key_of_a_token(
    database_url: Callable[[str], str], certificates: Path, clock: SetClock
) -> None:
    settings = auth_settings(database_url("auth"), signing_key_days=1 / 24, signing_key_overlap_seconds=120)
    async with running_auth(settings, certificates, now=clock) as auth:
        await auth.create_admin()
        keys_at_the_gateway = TokenVerifier(ISSUER, AUDIENCE, now=lambda: clock().timestamp())
        used: set[str] = set()
        issued: list[tuple[str, datetime]] = []
        for minute in range(150):
            if minute % 10 == 0:
                await auth.auth.issuing.rotate()
            keys_at_the_gateway.set_keys(await auth.auth.keys())
            await auth.auth.issuing.rotate()
            clock.move(seconds=60)
            session = await auth.begin_session()
            issued = [(session.access_token, clock() + timedelta(seconds=299)), *issued[:6]]
            used.add(jwt.get_unverified_header(session.access_token)["kid"])
            for token, until in issued:
                if clock() < until:
                    assert keys_at_the_gateway.verify(token)
        published = await auth.as_workload("gateway").GetJwks(pb.GetJwksRequest())

    assert len(used) >= 3
    assert len(published.keys) <= 2


async def test_a_mesh_that_slept_for_long_signs_with_its_old_key_until_the_next_is_known(
    settings: AuthSettings, clock: SetClock
) -> None:
    async with AsyncExitStack() as stack:
        (first,) = await published(await a_replica(stack, settings, clock))
    clock.move(days=365)

    async with AsyncExitStack() as stack:
        replica = await a_replica(stack, settings, clock)
        assert (await published(replica))[0] == first
        clock.move(seconds=OVERLAP)
        assert (await published(replica))[0] != first


async def test_keys_move_to_another_key_encryption_key_at_the_start(settings: AuthSettings, clock: SetClock) -> None:
    url = settings.database_url.get_secret_value()
    async with AsyncExitStack() as stack:
        before = await a_replica(stack, settings, clock)
        moved = auth_settings(
            url, key_encryption_key=ANOTHER_KEY, previous_key_encryption_keys=f"{A_KEY_ENCRYPTION_KEY}, "
        )
        await asyncio.gather(*(a_replica(stack, moved, clock) for _ in range(3)))
        await before.issuing.rotate()

        after = await a_replica(stack, auth_settings(url, key_encryption_key=ANOTHER_KEY), clock)

        assert await published(after) == await published(before), "who opened it before goes on"


async def test_a_key_encryption_key_in_a_file_may_change_while_the_process_runs(
    settings: AuthSettings, clock: SetClock, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(A_KEY_ENCRYPTION_KEY)
    file.chmod(0o600)
    url = settings.database_url.get_secret_value()
    followed = auth_settings(url, key_encryption_key=SecretFile(file))
    async with AsyncExitStack() as stack:
        replica = await a_replica(stack, followed, clock)
        engine = await stack.enter_async_context(open_database(settings.database_url))
        follow = follow_key_encryption(Sealer(followed.key_encryption_keys), [replica.issuing.reseal], every=0.01)
        following = asyncio.ensure_future(follow)
        await asyncio.sleep(0)
        (before,) = await SqlSigningKeys(engine, RememberedAudit()).all()

        file.write_text(ANOTHER_KEY)

        async with asyncio.timeout(20):
            while (after := (await SqlSigningKeys(engine, RememberedAudit()).all())) == [before]:
                pass
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        (key,) = after
        opened = Sealer.with_keys(base64.b64decode(ANOTHER_KEY)).unseal(key.sealed, of=key.kid)
        assert opened == Sealer.with_keys(bytes(32)).unseal(before.sealed, of=key.kid)


async def test_that_keys_come_and_go_is_recorded_without_the_keys(settings: AuthSettings, clock: SetClock) -> None:
    audit = RememberedAudit()
    async with (
        open_database(SecretStr(settings.database_url.get_secret_value())) as engine,
        open_auth(settings, engine, audit, hasher=quick_hasher(), now=clock) as auth,
    ):
        clock.move(days=DAYS)
        await auth.issuing.rotate()
        clock.move(days=1)
        await auth.issuing.rotate()
        (second,) = await published(auth)

    told = [(event.action, event.subject["kid"]) for event in audit.events]
    first = told[0][1]
    assert told == [
        ("signing_key_added", first),
        ("signing_key_added", second),
        ("signing_key_removed", first),
    ]
