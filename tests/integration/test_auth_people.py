"""The contract of UserService: rights, disabled users and passwords, over mTLS and on a real database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from argon2 import Parameters, PasswordHasher, extract_parameters
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2
from sqlalchemy import text

from levimesh.auth.v1 import user_service_pb2 as pb
from levimesh.policy.v1 import policy_pb2
from services.auth.settings import AuthSettings
from services.runtime.database import open_database
from tests.auth import ADMIN, ADMIN_PASSWORD, auth_settings, quick_hasher, running_auth
from tests.mesh import bearing, details_of, error_info
from tests.people import (
    ANN_PASSWORD,
    LAST_ADMIN,
    LOCKED,
    SESSION_OVER,
    USER_NOT_FOUND,
    WRONG,
    People,
    refusal,
    running_people,
)

NEW_PASSWORD = "another long password"
NOBODY = "6f1c1f0e-0000-4000-8000-000000000009"


@pytest_asyncio.fixture
async def people(database_url: Callable[[str], str], certificates: Path) -> AsyncIterator[People]:
    async with running_people(database_url("auth"), certificates) as running:
        yield running


def an_update(user_id: str, *paths: str, **values: Any) -> pb.UpdateUserRequest:
    return pb.UpdateUserRequest(user_id=user_id, update_mask=FieldMask(paths=paths), **values)


async def test_an_admin_calls_more_unless_told_otherwise_and_a_new_user_can_be_given_more(people: People) -> None:
    new = pb.CreateUserRequest(
        username="bot",
        password=NEW_PASSWORD,
        roles=[policy_pb2.ROLE_TRADER],
        rate_tier=policy_pb2.RATE_TIER_ELEVATED,
    )

    bot = (await people.running.users().CreateUser(new, metadata=people.admin)).user

    tiers = [user.rate_tier for user in (people.root, people.ann, bot)]
    assert tiers == [policy_pb2.RATE_TIER_ELEVATED, policy_pb2.RATE_TIER_STANDARD, policy_pb2.RATE_TIER_ELEVATED]


async def test_new_roles_make_the_tokens_so_far_worthless_and_the_next_ones_have_them(people: People) -> None:
    session = await people.login()
    users = people.running.users()

    change = an_update(people.ann.user_id, "roles", roles=[policy_pb2.ROLE_VIEWER])
    changed, again = [(await users.UpdateUser(change, metadata=people.admin)).user for _ in range(2)]

    assert changed == again
    assert changed.roles == [policy_pb2.ROLE_VIEWER]
    assert (await people.revoked()).superseded_rights == [f"{people.ann.user_id}/1"], "and a repetition changes nothing"
    refreshed = bearing((await people.refresh(session)).access_token)
    current = (await users.GetCurrentUser(pb.GetCurrentUserRequest(), metadata=refreshed)).user
    assert current == changed


async def test_what_the_mask_does_not_name_stays(people: People) -> None:
    users = people.running.users()
    faster = an_update(people.ann.user_id, "rate_tier", rate_tier="RATE_TIER_ELEVATED", roles=["ROLE_ADMIN"])
    back = an_update(people.ann.user_id, "rate_tier")

    elevated = (await users.UpdateUser(faster, metadata=people.admin)).user
    standard = (await users.UpdateUser(back, metadata=people.admin)).user

    assert elevated.rate_tier == policy_pb2.RATE_TIER_ELEVATED
    assert elevated.roles == [policy_pb2.ROLE_TRADER]
    assert standard == people.ann


@pytest.mark.parametrize(
    ("paths", "field"),
    [([], "update_mask"), (["username"], "update_mask"), (["roles", "*"], "update_mask"), (["roles"], "roles")],
)
async def test_a_mask_that_names_something_else_or_takes_all_roles_is_refused(
    people: People, paths: list[str], field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await people.running.users().UpdateUser(an_update(people.ann.user_id, *paths), metadata=people.admin)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(refused.value).reason == "ERROR_REASON_FIELD_VIOLATION"
    (violation,) = details_of(refused.value, error_details_pb2.BadRequest).field_violations
    assert violation.field == field


async def test_a_disabled_user_is_out_at_once_and_gets_the_answer_of_a_wrong_password(people: People) -> None:
    session, users = await people.login(), people.running.users()

    disable = pb.DisableUserRequest(user_id=people.ann.user_id)
    disabled, again = [(await users.DisableUser(disable, metadata=people.admin)).user for _ in range(2)]

    assert disabled == again
    assert disabled.disabled
    assert await refusal(people.login()) == WRONG
    assert await refusal(people.refresh(session)) == SESSION_OVER
    revoked = await people.revoked()
    assert session.session_id in revoked.session_ids
    assert revoked.superseded_rights == [f"{people.ann.user_id}/1"], "of API keys too"


async def test_an_enabled_user_may_log_in_again_and_their_failures_are_forgotten(people: People) -> None:
    users = people.running.users()
    session = await people.login()
    await users.DisableUser(pb.DisableUserRequest(user_id=people.ann.user_id), metadata=people.admin)
    outcomes = [await refusal(people.login()) for _ in range(6)]
    assert outcomes == [WRONG] * 5 + [LOCKED]

    enable = pb.EnableUserRequest(user_id=people.ann.user_id)
    enabled = (await users.EnableUser(enable, metadata=people.admin)).user

    assert enabled == people.ann
    assert (await people.login()).user == people.ann
    assert await refusal(people.refresh(session)) == SESSION_OVER, "what has ended stays so"


async def test_a_deleted_user_is_gone_and_the_name_is_free(people: People) -> None:
    users, session = people.running.users(), await people.login()

    delete = pb.DeleteUserRequest(user_id=people.ann.user_id)
    await users.DeleteUser(delete, metadata=people.admin)

    assert await refusal(users.DeleteUser(delete, metadata=people.admin)) == USER_NOT_FOUND
    assert await refusal(people.login()) == WRONG
    assert await refusal(people.refresh(session)) == SESSION_OVER
    assert (await people.revoked()).superseded_rights == [f"{people.ann.user_id}/1"]
    new = pb.CreateUserRequest(username="ann", password=NEW_PASSWORD, roles=[policy_pb2.ROLE_VIEWER])
    assert (await users.CreateUser(new, metadata=people.admin)).user.user_id != people.ann.user_id


async def test_the_last_admin_stays(people: People) -> None:
    users, root = people.running.users(), people.root.user_id

    for call in (
        users.DisableUser(pb.DisableUserRequest(user_id=root), metadata=people.admin),
        users.DeleteUser(pb.DeleteUserRequest(user_id=root), metadata=people.admin),
        users.UpdateUser(an_update(root, "roles", roles=["ROLE_TRADER"]), metadata=people.admin),
    ):
        assert await refusal(call) == LAST_ADMIN

    assert (await people.login(ADMIN, ADMIN_PASSWORD)).user == people.root


async def test_whom_nobody_knows_can_be_neither_changed_nor_removed(people: People) -> None:
    users = people.running.users()

    for call in (
        users.UpdateUser(an_update(NOBODY, "rate_tier"), metadata=people.admin),
        users.DisableUser(pb.DisableUserRequest(user_id=NOBODY), metadata=people.admin),
        users.EnableUser(pb.EnableUserRequest(user_id=NOBODY), metadata=people.admin),
        users.DeleteUser(pb.DeleteUserRequest(user_id=NOBODY), metadata=people.admin),
        users.ResetPassword(pb.ResetPasswordRequest(user_id=NOBODY), metadata=people.admin),
        users.ResetTotp(pb.ResetTotpRequest(user_id=NOBODY), metadata=people.admin),
    ):
        assert await refusal(call) == USER_NOT_FOUND


async def test_a_changed_password_ends_the_other_sessions_only(people: People) -> None:
    other, own = await people.login(), await people.login()
    change = pb.ChangePasswordRequest(current_password=ANN_PASSWORD, new_password=NEW_PASSWORD)

    await people.running.users().ChangePassword(change, metadata=bearing(own.access_token))

    assert (await people.revoked()).session_ids == [other.session_id]
    assert await refusal(people.refresh(other)) == SESSION_OVER
    assert await people.refresh(own)
    assert await refusal(people.login()) == WRONG
    assert await people.login(password=NEW_PASSWORD)


async def test_the_current_password_cannot_be_guessed_by_whoever_has_a_token(people: People) -> None:
    users, token = people.running.users(), bearing((await people.login()).access_token)
    guess = pb.ChangePasswordRequest(current_password="a guess", new_password=NEW_PASSWORD)
    right = pb.ChangePasswordRequest(current_password=ANN_PASSWORD, new_password=NEW_PASSWORD)

    outcomes = [await refusal(users.ChangePassword(guess, metadata=token)) for _ in range(6)]

    assert outcomes == [WRONG] * 5 + [LOCKED]
    assert await refusal(users.ChangePassword(right, metadata=token)) == LOCKED


async def test_of_two_changes_of_one_password_at_once_one_is_made(people: People) -> None:
    token = bearing((await people.login()).access_token)
    changes = [
        pb.ChangePasswordRequest(current_password=ANN_PASSWORD, new_password=f"{NEW_PASSWORD} {number}")
        for number in range(2)
    ]

    calls = (people.running.users().ChangePassword(change, metadata=token) for change in changes)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    (made,) = (number for number, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException))
    assert await people.login(password=f"{NEW_PASSWORD} {made}")


async def test_a_reset_password_is_made_by_the_service_and_ends_all_sessions(people: People) -> None:
    users, session = people.running.users(), await people.login()

    reset = pb.ResetPasswordRequest(user_id=people.ann.user_id)
    first, second = [(await users.ResetPassword(reset, metadata=people.admin)).password for _ in range(2)]

    assert first != second
    assert len(first) >= 22, "128 bits in base64"
    assert await refusal(people.refresh(session)) == SESSION_OVER
    assert session.session_id in (await people.revoked()).session_ids
    assert [await refusal(people.login(password=old)) for old in (ANN_PASSWORD, first)] == [WRONG] * 2
    assert await people.login(password=second)


@pytest.mark.parametrize("username", ["ann", "nobody"])
async def test_failed_logins_hold_up_the_next_one_for_longer_each_time(people: People, username: str) -> None:
    for _ in range(5):
        assert await refusal(people.login(username, "wrong")) == WRONG
    for seconds in (1, 2, 4):
        with pytest.raises(grpc.aio.AioRpcError) as locked:
            await people.login(username.upper(), ANN_PASSWORD)
        assert locked.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error_info(locked.value).reason == "ERROR_REASON_LOGIN_LOCKED"
        wait = details_of(locked.value, error_details_pb2.RetryInfo).retry_delay.ToTimedelta()
        assert wait == timedelta(seconds=seconds)
        people.clock.move(seconds=seconds)
        assert await refusal(people.login(username, "wrong")) == WRONG


async def test_a_successful_login_forgets_the_failed_ones(people: People) -> None:
    for _ in range(3):
        for _ in range(4):
            assert await refusal(people.login(password="wrong")) == WRONG
        assert await people.login()


class CountingHasher(PasswordHasher):
    """Counts what it is asked to do."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified = self.hashed = 0

    def verify(self, *arguments: Any, **more: Any) -> Any:
        self.verified += 1
        return super().verify(*arguments, **more)

    def hash(self, *arguments: Any, **more: Any) -> str:
        self.hashed += 1
        return super().hash(*arguments, **more)


async def test_a_login_costs_the_same_work_for_whoever_is_unknown_or_disabled(
    database_url: Callable[[str], str], certificates: Path
) -> None:
    hasher = CountingHasher()
    async with running_auth(auth_settings(database_url("auth")), certificates, hasher) as running:
        await running.create_admin()
        admin, users = await running.login(), running.users()
        for username in ("ann", "bob"):
            new = pb.CreateUserRequest(username=username, password=ANN_PASSWORD, roles=[policy_pb2.ROLE_VIEWER])
            created = await users.CreateUser(new, metadata=admin)
        await users.DisableUser(pb.DisableUserRequest(user_id=created.user.user_id), metadata=admin)

        work = []
        for username, password in (("ann", "wrong"), ("bob", ANN_PASSWORD), ("bob", "wrong"), ("nobody", "wrong")):
            hasher.verified = hasher.hashed = 0
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await running.login(username, password)
            work.append((refused.value.details(), hasher.verified, hasher.hashed))

    assert len(set(work)) == 1
    assert work[0][1:] == (1, 0)


async def test_a_password_is_hashed_anew_when_the_parameters_have_changed(
    database_url: Callable[[str], str], certificates: Path
) -> None:
    settings = auth_settings(database_url("auth"))
    stronger = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    async with running_auth(settings, certificates, quick_hasher()) as before:
        await before.create_admin()

    async with running_auth(settings, certificates, stronger) as after:
        with pytest.raises(grpc.aio.AioRpcError):
            await after.login(password="wrong")
        weak = await stored_parameters(settings)
        assert await after.login()
        strong = await stored_parameters(settings)
        assert await after.login()

    assert (weak.time_cost, weak.memory_cost) == (1, 8)
    assert (strong.time_cost, strong.memory_cost) == (2, 16)


async def stored_parameters(settings: AuthSettings) -> Parameters:
    async with open_database(settings.database_url) as engine, engine.connect() as connection:
        return extract_parameters((await connection.execute(text("SELECT password_hash FROM auth.users"))).scalar_one())
