"""Users, failed logins and second factors in PostgreSQL, when many things happen at once."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.auth.adapters.authenticators import SqlAuthenticators
from services.auth.adapters.failed_logins import SqlLoginGuard
from services.auth.adapters.revocations import SqlRevocations
from services.auth.adapters.sealing import SealBroken, Sealer
from services.auth.adapters.users import SqlUsers
from services.auth.domain.totp import CodeUse
from services.auth.domain.users import Account, Role, User
from services.auth.errors import LastAdmin, LoginLocked, TotpEnrolled, UsernameTaken, UserNotFound
from services.runtime.database import open_database
from tests.audit import RememberedAudit
from tests.auth import SetClock

NOON = datetime(2024, 8, 9, 12, tzinfo=UTC)
ANN, BOB = "6f1c1f0e-0000-4000-8000-00000000000a", "6f1c1f0e-0000-4000-8000-00000000000b"
SEALER = Sealer.with_keys(bytes(32))
SECRET = base64.b32encode(bytes(20)).decode()


@pytest.fixture
def audit() -> RememberedAudit:
    return RememberedAudit()


@pytest_asyncio.fixture
async def engine(database_url: Callable[[str], str]) -> AsyncIterator[AsyncEngine]:
    async with open_database(SecretStr(database_url("auth"))) as opened:
        yield opened


@pytest_asyncio.fixture
async def users(engine: AsyncEngine) -> SqlUsers:
    """Ann and Bob are admins."""
    known = SqlUsers(engine)
    for user_id, name in ((ANN, "ann"), (BOB, "bob")):
        await known.add(Account(User(user_id, name, frozenset({Role.ADMIN}), NOON), "a hash"))
    return known


def disabled(user: User) -> User:
    return user.with_rights(disabled=True)


def a_viewer(user: User) -> User:
    return user.with_rights(roles=frozenset({Role.VIEWER}))


async def attempt(guard: SqlLoginGuard, username: str) -> float:
    """Fail to log in; how many seconds the name is locked then."""
    await guard.failed(username)
    try:
        await guard.check(username)
    except LoginLocked as locked:
        return locked.retry_after or 0
    return 0


@pytest.mark.parametrize("change", [disabled, a_viewer])
async def test_of_two_admins_who_go_at_once_one_stays(users: SqlUsers, change: Callable[[User], User]) -> None:
    outcomes = await asyncio.gather(*(users.change(each, change) for each in (ANN, BOB)), return_exceptions=True)

    assert {type(outcome) for outcome in outcomes} == {LastAdmin, User}
    admins = [user for user in await users.page("", 9) if user.administrates]
    assert len(admins) == 1


async def test_of_an_admin_who_is_removed_and_one_who_is_disabled_at_once_one_stays(users: SqlUsers) -> None:
    outcomes = await asyncio.gather(users.remove(ANN), users.change(BOB, disabled), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes].count(LastAdmin) == 1
    assert len([user for user in await users.page("", 9) if user.administrates]) == 1


async def test_the_tokens_of_a_change_are_revoked_and_no_others(engine: AsyncEngine, users: SqlUsers) -> None:
    revocations = SqlRevocations(engine, timedelta(minutes=5))

    changed = await users.change(ANN, a_viewer)
    again = await users.change(ANN, a_viewer)

    assert again == changed == await users.by_id(ANN)
    assert await revocations.current() == {f"{ANN}/1"}
    await users.remove(ANN)
    assert await revocations.current() == {f"{ANN}/1", f"{ANN}/2"}
    with pytest.raises(UserNotFound):
        await users.remove(ANN)


async def test_a_hash_is_renewed_only_in_place_of_the_one_that_was_read(users: SqlUsers) -> None:
    assert await users.set_password_hash(ANN, "another", instead_of="a hash")
    assert not await users.set_password_hash(ANN, "a third", instead_of="a hash")

    account = await users.by_name("ann")
    assert account is not None
    assert account.password_hash == "another"


async def test_failures_lock_the_name_in_any_case_and_for_all_replicas(
    engine: AsyncEngine, audit: RememberedAudit
) -> None:
    now = SetClock(NOON)
    guard, replica = SqlLoginGuard(engine, audit, now), SqlLoginGuard(engine, audit, now)

    assert [await attempt(guard, "Mallory") for _ in range(5)] == [0, 0, 0, 0, 1]

    with pytest.raises(LoginLocked, match="try again in 1 s"):
        await replica.check("mallory")
    await replica.check("somebody else")
    now.move(seconds=1)
    assert await attempt(replica, "mallory") == 2


async def test_each_lock_is_recorded_with_the_name_that_was_tried(engine: AsyncEngine, audit: RememberedAudit) -> None:
    now = SetClock(NOON)
    guard = SqlLoginGuard(engine, audit, now)
    for _ in range(6):
        now.move(seconds=1)
        await guard.failed("Mallory")

    assert [(event.action, event.actor) for event in audit.events] == [("login_locked", "mallory")] * 2
    assert dict(audit.events[1].subject) == {"failures": "6", "seconds": "2"}


async def test_guesses_that_end_while_the_name_is_locked_learn_nothing(
    engine: AsyncEngine, audit: RememberedAudit
) -> None:
    guard = SqlLoginGuard(engine, audit, SetClock(NOON))

    outcomes = await asyncio.gather(*(guard.failed("ann") for _ in range(20)), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes].count(LoginLocked) == 15
    with pytest.raises(LoginLocked):
        await guard.succeeded("ann")


async def test_a_success_forgets_failures_and_so_does_an_admin(engine: AsyncEngine, audit: RememberedAudit) -> None:
    guard = SqlLoginGuard(engine, audit, SetClock(NOON))
    for _ in range(4):
        await guard.failed("ann")

    await guard.succeeded("ann")

    assert [await attempt(guard, "ann") for _ in range(5)] == [0, 0, 0, 0, 1]
    await guard.forget("ann")
    await guard.check("ann")
    assert await attempt(guard, "ann") == 0


async def test_names_that_failed_a_day_ago_are_not_kept(engine: AsyncEngine, audit: RememberedAudit) -> None:
    now = SetClock(NOON)
    guard = SqlLoginGuard(engine, audit, now)
    for name in ("one", "two", "three"):
        await guard.failed(name)

    now.move(days=1)
    await guard.failed("four")

    async with engine.connect() as connection:
        kept = (await connection.execute(text("SELECT login_name FROM auth.failed_logins"))).scalars().all()
    assert kept == ["four"]


async def test_of_a_hundred_uses_of_one_code_one_wins(engine: AsyncEngine, users: SqlUsers) -> None:
    authenticators = SqlAuthenticators(engine, SEALER)
    await authenticators.begin(ANN, SECRET)
    assert await authenticators.confirm(ANN, SECRET, 1000, [b"a", b"b"])

    steps = await asyncio.gather(*(authenticators.use_step(ANN, 1001) for _ in range(100)))
    codes = await asyncio.gather(*(authenticators.use_recovery_code(ANN, b"a") for _ in range(100)))

    assert sum(steps) == 1
    assert (codes.count(CodeUse.RIGHT), codes.count(CodeUse.AGAIN)) == (1, 99)
    assert not await authenticators.use_step(ANN, 1000), "one that is older than the last used"
    assert await authenticators.use_recovery_code(BOB, b"b") is CodeUse.WRONG, "somebody else's"
    assert await authenticators.use_recovery_code(ANN, b"b") is CodeUse.RIGHT


async def test_an_authenticator_counts_once_it_is_confirmed(engine: AsyncEngine, users: SqlUsers) -> None:
    authenticators = SqlAuthenticators(engine, SEALER)
    await authenticators.begin(ANN, "first")
    await authenticators.begin(ANN, SECRET)

    assert not await authenticators.use_step(ANN, 1000)
    assert not await authenticators.confirm(ANN, "first", 1000, [b"a"]), "another one was begun"
    user = await users.by_id(ANN)
    assert user is not None
    assert not user.totp_enrolled
    confirmed = await asyncio.gather(*(authenticators.confirm(ANN, SECRET, 1000, [b"a"]) for _ in range(4)))
    assert sum(confirmed) == 1
    user = await users.by_id(ANN)
    assert user is not None
    assert user.totp_enrolled
    with pytest.raises(TotpEnrolled):
        await authenticators.begin(ANN, "third")


async def test_a_stored_secret_is_encrypted_for_its_user_only(engine: AsyncEngine, users: SqlUsers) -> None:
    authenticators = SqlAuthenticators(engine, SEALER)
    await authenticators.begin(ANN, SECRET)
    async with engine.begin() as connection:
        sealed = (await connection.execute(text("SELECT sealed FROM auth.authenticators"))).scalar_one()
        copy = "INSERT INTO auth.authenticators SELECT :bob, sealed, confirmed, last_step FROM auth.authenticators"
        await connection.execute(text(copy), {"bob": BOB})

    assert SECRET.encode() not in sealed
    enrolment = await authenticators.of(ANN)
    assert enrolment is not None
    assert enrolment.secret == SECRET
    with pytest.raises(SealBroken):
        await authenticators.of(BOB)
    with pytest.raises(SealBroken):
        await SqlAuthenticators(engine, Sealer.with_keys(bytes(31) + b"1")).of(ANN)


async def test_a_stored_secret_moves_to_another_key_encryption_key(engine: AsyncEngine, users: SqlUsers) -> None:
    await SqlAuthenticators(engine, SEALER).begin(ANN, SECRET)
    another = bytes(31) + b"1"

    await SqlAuthenticators(engine, Sealer.with_keys(another, bytes(32))).reseal()

    enrolment = await SqlAuthenticators(engine, Sealer.with_keys(another)).of(ANN)
    assert enrolment is not None
    assert enrolment.secret == SECRET
    with pytest.raises(SealBroken):
        await SqlAuthenticators(engine, SEALER).of(ANN)


async def test_whoever_is_removed_leaves_no_second_factor(engine: AsyncEngine, users: SqlUsers) -> None:
    authenticators = SqlAuthenticators(engine, SEALER)
    await authenticators.begin(ANN, SECRET)
    await authenticators.confirm(ANN, SECRET, 1000, [b"a"])

    await users.remove(ANN)

    assert await authenticators.of(ANN) is None
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM auth.recovery_codes"))).scalar_one() == 0


async def test_the_first_admin_does_not_take_the_name_of_somebody_else(engine: AsyncEngine) -> None:
    """Somebody whom another issuer vouches for, for example, and who came first."""
    known = SqlUsers(engine)
    await known.add(Account(User(ANN, "admin", frozenset({Role.VIEWER}), NOON), ""))

    with pytest.raises(UsernameTaken):
        await known.add_first_admin(Account(User(BOB, "Admin", frozenset({Role.ADMIN}), NOON), "a hash"))

    assert await known.add_first_admin(Account(User(BOB, "root", frozenset({Role.ADMIN}), NOON), "a hash"))
