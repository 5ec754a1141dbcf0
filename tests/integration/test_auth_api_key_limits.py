"""How many API keys a user may have, and when those that have ended are forgotten."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import grpc
import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from services.auth.adapters.api_keys import SqlApiKeys
from services.auth.adapters.purging import purge
from services.auth.adapters.tables import api_keys
from services.auth.adapters.users import SqlUsers
from services.auth.domain.api_keys import ApiKey
from services.auth.domain.tokens import Scope
from services.auth.domain.users import Account, Role, User
from services.auth.errors import TooManyApiKeys
from services.auth.use_cases.api_keys import CreateApiKey, ForgetApiKeys, RevokeApiKey
from services.runtime.database import open_database
from services.runtime.statuses import to_status
from tests.auth import SetClock

NOON = datetime(2024, 8, 9, 12, tzinfo=UTC)
ANN, BOB = "6f1c1f0e-0000-4000-8000-00000000000a", "6f1c1f0e-0000-4000-8000-00000000000b"
MOST = 3


@pytest_asyncio.fixture
async def engine(database_url: Callable[[str], str]) -> AsyncIterator[AsyncEngine]:
    async with open_database(SecretStr(database_url("auth"))) as opened:
        for user_id, name in ((ANN, "ann"), (BOB, "bob")):
            await SqlUsers(opened).add(Account(User(user_id, name, frozenset({Role.VIEWER}), NOON), "a hash"))
        yield opened


@pytest.fixture
def keys(engine: AsyncEngine) -> SqlApiKeys:
    return SqlApiKeys(engine, SqlUsers(engine))


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOON)


@pytest.fixture
def create(keys: SqlApiKeys, engine: AsyncEngine, clock: SetClock) -> Callable[..., asyncio.Future[ApiKey]]:
    create = CreateApiKey(keys, SqlUsers(engine), clock, uuid4, MOST)

    async def created(owner: str = ANN, days: float = 365) -> ApiKey:
        key, _ = await create(owner, "bot", frozenset({Scope.READ}), [], None, timedelta(days=days))
        return key

    return lambda *arguments, **said: asyncio.ensure_future(created(*arguments, **said))


async def count(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        found = await connection.execute(select(func.count()).select_from(api_keys))
        return int(found.scalar_one())


async def test_a_user_has_no_more_keys_than_one_may_have_those_that_ended_aside(
    create: Callable[..., asyncio.Future[ApiKey]], keys: SqlApiKeys, clock: SetClock
) -> None:
    revoked, expiring, _ = [await create(days=days) for days in (365, 1, 365)]
    with pytest.raises(TooManyApiKeys) as refused:
        await create()
    await create(BOB)

    await RevokeApiKey(keys, clock)(revoked.key_id, ANN)
    await create()
    clock.move(days=1)
    assert not expiring.is_active(clock())
    await create()

    status = to_status(refused.value)
    assert (status.code, refused.value.metadata) == (grpc.StatusCode.FAILED_PRECONDITION.value[0], {"most": "3"})
    with pytest.raises(TooManyApiKeys):
        await create()


async def test_of_keys_that_are_made_at_once_no_more_are_kept(
    create: Callable[..., asyncio.Future[ApiKey]], engine: AsyncEngine
) -> None:
    outcomes = await asyncio.gather(*(create() for _ in range(4 * MOST)), return_exceptions=True)

    assert sum(isinstance(outcome, ApiKey) for outcome in outcomes) == MOST == await count(engine)


async def test_a_key_is_forgotten_a_while_after_it_was_revoked_or_expired(
    create: Callable[..., asyncio.Future[ApiKey]], keys: SqlApiKeys, clock: SetClock
) -> None:
    revoked, expired, kept = [await create(days=days) for days in (365, 2, 365)]
    await RevokeApiKey(keys, clock)(revoked.key_id, ANN)
    forget = ForgetApiKeys(keys, timedelta(days=30), clock)

    async def listed_after(days: float) -> set[str]:
        clock.now = NOON + timedelta(days=days)
        await forget()
        return {key.key_id for key in await keys.of_user(ANN, None, 9)}

    everything = {revoked.key_id, expired.key_id, kept.key_id}
    assert await listed_after(30) == everything
    assert await listed_after(30.001) == everything - {revoked.key_id}
    assert await listed_after(32.001) == {kept.key_id}


async def test_what_is_removed_in_batches_is_removed_to_its_end_but_what_somebody_holds(
    create: Callable[..., asyncio.Future[ApiKey]], engine: AsyncEngine
) -> None:
    held, *_ = [await create(owner) for owner in (ANN, ANN, ANN, BOB, BOB)]
    row = select(api_keys).where(api_keys.c.key_id == held.key_id)

    async with engine.begin() as somebody:
        await somebody.execute(row.with_for_update())
        assert await purge(engine, api_keys, api_keys.c.create_time <= NOON, batch=2) == 4

    assert await purge(engine, api_keys, api_keys.c.create_time <= NOON, batch=2) == 1
