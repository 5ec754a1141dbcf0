"""Sessions by the contract, over mTLS and on a real database."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from levimesh.auth.v1 import auth_service_pb2 as pb
from levimesh.auth.v1 import auth_service_pb2_grpc as pb_grpc
from levimesh.auth.v1 import user_service_pb2, user_service_pb2_grpc
from levimesh.policy.v1 import policy_pb2
from services.runtime.database import open_database
from services.runtime.pagination import encode_page_token
from services.runtime.trust import PublishedByAuth, refresh_revocations
from tests.auth import (
    ADMIN,
    ADMIN_PASSWORD,
    SERVICE,
    USER_SERVICE,
    RunningAuth,
    SetClock,
    auth_settings,
    running_auth,
)
from tests.gateway import Calls, recording
from tests.mesh import A_SESSION_ID, Served, bearing, error_info, serving

A_PASSWORD = "a long password"
WITHIN = 20.0


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def url(database_url: Callable[[str], str]) -> str:
    return database_url("auth")


@pytest.fixture
async def auth(url: str, certificates: Path, clock: SetClock) -> AsyncIterator[RunningAuth]:
    async with running_auth(auth_settings(url), certificates, now=clock) as running:
        await running.create_admin()
        yield running


@pytest.fixture
async def elsewhere(auth: RunningAuth, certificates: Path, clock: SetClock) -> AsyncIterator[Served]:
    """A service that checks tokens by what auth publishes: it serves the contract of users, and answers nothing."""
    servicer = recording(USER_SERVICE, Calls(), {})
    async with serving(
        {USER_SERVICE: servicer}, certificates, workload="trading", token_clock=lambda: clock().timestamp()
    ) as served:
        published = PublishedByAuth(pb_grpc.AuthServiceStub(auth.served.channel(SERVICE, "trading")))
        served.stages.verifier.set_keys(await published.keys())
        polling = asyncio.ensure_future(refresh_revocations(served.stages.verifier, published.revoked))
        yield served
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)


def refresh(token: str, request_id: str | None = None) -> pb.RefreshSessionRequest:
    return pb.RefreshSessionRequest(refresh_token=token, request_id=request_id or str(uuid.uuid4()))


def reason_of(error: grpc.aio.AioRpcError) -> str:
    reason: str = error_info(error).reason
    return reason.removeprefix("ERROR_REASON_")


async def refusal_of(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return reason_of(refused.value)


async def who(served: Served, token: str) -> Any:
    stub: Any = user_service_pb2_grpc.UserServiceStub(served.channel(USER_SERVICE))
    return await stub.GetCurrentUser(user_service_pb2.GetCurrentUserRequest(), metadata=bearing(token))


async def until_refused(served: Served, token: str) -> str:
    """The reason for which ``served`` refuses ``token``, once it does."""
    async with asyncio.timeout(WITHIN):
        while True:
            try:
                await who(served, token)
            except grpc.aio.AioRpcError as error:
                return reason_of(error)


async def a_user(auth: RunningAuth, username: str = "ann", *roles: str) -> str:
    wanted = [policy_pb2.Role.Value(role) for role in roles or ("ROLE_TRADER",)]
    request = user_service_pb2.CreateUserRequest(username=username, password=A_PASSWORD, roles=wanted)
    created = await auth.users().CreateUser(request, metadata=await auth.login())
    return created.user.user_id


async def test_a_login_begins_a_session_that_knows_where_it_came_from(auth: RunningAuth, clock: SetClock) -> None:
    gateway = auth.as_workload("gateway")
    origin = (("x-levimesh-address", "203.0.113.7"),)
    login = await gateway.Login(pb.LoginRequest(username=ADMIN, password=ADMIN_PASSWORD), metadata=origin)

    listed = await gateway.ListSessions(pb.ListSessionsRequest(), metadata=bearing(login.access_token))

    (session,) = listed.sessions
    assert (session.session_id, session.address, session.current) == (login.session_id, "203.0.113.7", True)
    assert "grpc-python" in session.user_agent
    assert session.create_time.ToDatetime() == session.refresh_time.ToDatetime() == clock().replace(tzinfo=None)
    assert session.expire_time == login.refresh_expire_time
    claims = jwt.decode(login.access_token, options={"verify_signature": False})
    assert (claims["sid"], claims["tier"], claims["rights"]) == (login.session_id, "elevated", 1)
    assert "scope" not in claims


async def test_a_refresh_gives_the_next_tokens_of_the_session(auth: RunningAuth, clock: SetClock) -> None:
    gateway, login = auth.as_workload("gateway"), await auth.begin_session()
    clock.move(minutes=4)

    first = await gateway.RefreshSession(refresh(login.refresh_token))
    clock.move(minutes=4)
    second = await gateway.RefreshSession(refresh(first.refresh_token))

    assert {login.session_id, first.session_id, second.session_id} == {login.session_id}
    assert len({login.refresh_token, first.refresh_token, second.refresh_token}) == 3
    assert await who(auth.served, second.access_token)
    (session,) = (await gateway.ListSessions(pb.ListSessionsRequest(), metadata=bearing(second.access_token))).sessions
    assert session.refresh_time.ToDatetime() == clock().replace(tzinfo=None)
    assert second.refresh_expire_time.ToDatetime() > login.refresh_expire_time.ToDatetime()


async def test_a_lost_reply_is_answered_again_for_half_a_minute(auth: RunningAuth, clock: SetClock) -> None:
    gateway, login = auth.as_workload("gateway"), await auth.begin_session()
    request = refresh(login.refresh_token)
    first = await gateway.RefreshSession(request)

    clock.move(seconds=30)
    again = await gateway.RefreshSession(refresh(login.refresh_token, request.request_id.upper()))
    clock.move(seconds=1)

    assert again == first
    assert await refusal_of(gateway.RefreshSession(request)) == "REFRESH_TOKEN_REUSED"
    assert await refusal_of(gateway.RefreshSession(refresh(first.refresh_token))) == "REFRESH_TOKEN_INVALID"


async def test_a_second_use_at_once_is_refused_and_ends_nothing(auth: RunningAuth, clock: SetClock) -> None:
    gateway, login = auth.as_workload("gateway"), await auth.begin_session()
    winner = await gateway.RefreshSession(refresh(login.refresh_token))

    clock.move(seconds=2)
    assert await refusal_of(gateway.RefreshSession(refresh(login.refresh_token))) == "REFRESH_TOKEN_REUSED"

    assert await gateway.RefreshSession(refresh(winner.refresh_token))
    assert [event.action for event in auth.audit.events].count("refresh_token_reused") == 0


async def test_a_later_second_use_ends_the_session_everywhere(
    auth: RunningAuth, elsewhere: Served, clock: SetClock
) -> None:
    gateway, login, other = auth.as_workload("gateway"), await auth.begin_session(), await auth.begin_session()
    refreshed = await gateway.RefreshSession(refresh(login.refresh_token))
    assert await who(elsewhere, refreshed.access_token) is not None

    clock.move(seconds=2.1)
    assert await refusal_of(gateway.RefreshSession(refresh(login.refresh_token))) == "REFRESH_TOKEN_REUSED"

    assert await until_refused(elsewhere, refreshed.access_token) == "SESSION_ENDED"
    assert await until_refused(elsewhere, login.access_token) == "SESSION_ENDED"
    assert await until_refused(auth.served, refreshed.access_token) == "SESSION_ENDED"
    assert await refusal_of(gateway.RefreshSession(refresh(refreshed.refresh_token))) == "REFRESH_TOKEN_INVALID"
    assert await who(elsewhere, other.access_token) is not None
    (reuse,) = [event for event in auth.audit.events if event.action == "refresh_token_reused"]
    assert (reuse.actor, reuse.session_id) == (login.user.user_id, login.session_id)


async def test_a_used_token_that_has_expired_itself_ends_nothing(auth: RunningAuth, clock: SetClock) -> None:
    """Whether it was used is known no longer than it was good for."""
    gateway, login = auth.as_workload("gateway"), await auth.begin_session()
    clock.move(days=10)
    renewed = await gateway.RefreshSession(refresh(login.refresh_token))
    clock.move(days=4)

    assert await refusal_of(gateway.RefreshSession(refresh(login.refresh_token))) == "REFRESH_TOKEN_INVALID"

    assert await gateway.RefreshSession(refresh(renewed.refresh_token))


async def test_of_a_hundred_uses_of_one_token_one_wins_and_the_session_lives(
    auth: RunningAuth, elsewhere: Served, clock: SetClock
) -> None:
    gateway, login = auth.as_workload("gateway"), await auth.begin_session()

    answers = await asyncio.gather(
        *(gateway.RefreshSession(refresh(login.refresh_token)) for _ in range(100)), return_exceptions=True
    )

    (winner,) = (answer for answer in answers if not isinstance(answer, BaseException))
    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert len(refused) == 99
    assert {error_info(error).reason for error in refused} == {"ERROR_REASON_REFRESH_TOKEN_REUSED"}
    following = await gateway.RefreshSession(refresh(winner.refresh_token))
    assert await who(elsewhere, following.access_token) is not None

    clock.move(minutes=1)
    assert await refusal_of(gateway.RefreshSession(refresh(login.refresh_token))) == "REFRESH_TOKEN_REUSED"
    assert await until_refused(elsewhere, following.access_token) == "SESSION_ENDED"


async def test_a_hundred_retries_of_one_exchange_get_one_answer(auth: RunningAuth) -> None:
    gateway, login = auth.as_workload("gateway"), await auth.begin_session()
    request = refresh(login.refresh_token)

    answers = await asyncio.gather(*(gateway.RefreshSession(request) for _ in range(100)))

    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert await gateway.RefreshSession(refresh(answers[0].refresh_token))


@pytest.mark.parametrize("token", ["nothing", "lmr_" + "A" * 43])
async def test_a_refresh_token_that_was_not_given_out_is_refused(auth: RunningAuth, token: str) -> None:
    assert await refusal_of(auth.as_workload("gateway").RefreshSession(refresh(token))) == "REFRESH_TOKEN_INVALID"


@pytest.mark.parametrize("username", ["a\0b", "\0", "x" * 65, ""])
async def test_a_name_that_nobody_can_have_is_refused_as_such(auth: RunningAuth, username: str) -> None:
    call = auth.as_workload("gateway").Login(pb.LoginRequest(username=username, password=ADMIN_PASSWORD))
    assert await refusal_of(call) == "FIELD_VIOLATION"


@pytest.mark.parametrize("anything", ["\0", "\ud7ff\uffff", "\u202e", "'; --", "💥" * 8])
async def test_whatever_a_client_sends_is_answered(auth: RunningAuth, anything: str) -> None:
    gateway = auth.as_workload("gateway")
    calls = [
        (
            gateway.Login(pb.LoginRequest(username=ADMIN, password=anything, second_factor=anything)),
            "CREDENTIALS_INVALID",
        ),
        (gateway.RefreshSession(refresh(anything)), "REFRESH_TOKEN_INVALID"),
    ]
    if "\0" not in anything:
        calls.append((gateway.Login(pb.LoginRequest(username=anything, password=anything)), "CREDENTIALS_INVALID"))
    for call, reason in calls:
        assert await refusal_of(call) == reason


async def test_a_session_that_is_not_refreshed_for_long_expires(auth: RunningAuth, clock: SetClock) -> None:
    gateway, login = auth.as_workload("gateway"), await auth.begin_session()

    clock.move(days=14)

    assert await refusal_of(gateway.RefreshSession(refresh(login.refresh_token))) == "REFRESH_TOKEN_INVALID"
    new = await auth.begin_session()
    listed = await gateway.ListSessions(pb.ListSessionsRequest(), metadata=bearing(new.access_token))
    assert [session.session_id for session in listed.sessions] == [new.session_id]


async def test_a_session_ends_some_day_however_often_it_is_refreshed(auth: RunningAuth, clock: SetClock) -> None:
    gateway, began = auth.as_workload("gateway"), clock()
    token = (await auth.begin_session()).refresh_token
    for _ in range(8):
        clock.move(days=10)
        answer = await gateway.RefreshSession(refresh(token))
        token = answer.refresh_token

    assert answer.refresh_expire_time.ToDatetime(UTC) == began + timedelta(days=90)
    clock.move(days=10)
    assert await refusal_of(gateway.RefreshSession(refresh(token))) == "REFRESH_TOKEN_INVALID"


async def test_a_logout_ends_this_session_only(auth: RunningAuth, elsewhere: Served) -> None:
    gateway, one, other = auth.as_workload("gateway"), await auth.begin_session(), await auth.begin_session()

    await gateway.Logout(pb.LogoutRequest(), metadata=bearing(one.access_token))

    assert await refusal_of(gateway.Logout(pb.LogoutRequest(), metadata=bearing(one.access_token))) == "SESSION_ENDED"
    assert await until_refused(elsewhere, one.access_token) == "SESSION_ENDED"
    assert await refusal_of(gateway.RefreshSession(refresh(one.refresh_token))) == "REFRESH_TOKEN_INVALID"
    assert await who(elsewhere, other.access_token) is not None
    assert await gateway.RefreshSession(refresh(other.refresh_token))


async def test_a_logout_everywhere_ends_every_session_of_the_user_and_of_nobody_else(
    auth: RunningAuth, elsewhere: Served
) -> None:
    await a_user(auth, "ann")
    gateway, one = auth.as_workload("gateway"), await auth.begin_session("ann", A_PASSWORD)
    two, admin = await auth.begin_session("ann", A_PASSWORD), await auth.begin_session()

    ended = await gateway.LogoutEverywhere(pb.LogoutEverywhereRequest(), metadata=bearing(one.access_token))

    assert ended.sessions_ended == 2
    for session in (one, two):
        assert await until_refused(elsewhere, session.access_token) == "SESSION_ENDED"
        assert await refusal_of(gateway.RefreshSession(refresh(session.refresh_token))) == "REFRESH_TOKEN_INVALID"
    assert await who(elsewhere, admin.access_token) is not None


async def test_sessions_are_listed_newest_first_a_page_at_a_time(auth: RunningAuth, clock: SetClock) -> None:
    await a_user(auth, "ann")
    gateway, begun = auth.as_workload("gateway"), []
    for number in range(5):
        begun.append(await auth.begin_session("ann", A_PASSWORD))
        clock.move(seconds=number // 2)
    token = bearing(begun[0].access_token)

    pages, page_token = [], ""
    while True:
        page = await gateway.ListSessions(pb.ListSessionsRequest(page_size=2, page_token=page_token), metadata=token)
        pages.append([session.session_id for session in page.sessions])
        if not (page_token := page.next_page_token):
            break

    assert list(map(len, pages)) == [2, 2, 1]
    listed = [session_id for page in pages for session_id in page]
    assert set(listed) == {login.session_id for login in begun}
    assert listed[0] == begun[-1].session_id
    assert len(set(listed)) == 5


@pytest.mark.parametrize(
    "page_token",
    [
        "bWFkZS11cA==",
        encode_page_token(["yesterday", A_SESSION_ID], pb.ListSessionsRequest()),
        encode_page_token(["2024-08-09T12:00:00+00:00", "nothing"], pb.ListSessionsRequest()),
        encode_page_token(["0001-01-01T00:00:00+23:59", A_SESSION_ID], pb.ListSessionsRequest()),
        encode_page_token(["2024-08-09T12:00:00+00:00"], pb.ListSessionsRequest()),
    ],
)
async def test_a_page_token_that_was_not_given_out_is_refused(auth: RunningAuth, page_token: str) -> None:
    call = auth.as_workload("gateway").ListSessions(
        pb.ListSessionsRequest(page_token=page_token), metadata=await auth.login()
    )
    assert await refusal_of(call) == "PAGE_TOKEN_INVALID"


async def test_a_user_ends_one_of_the_own_sessions_and_no_other(auth: RunningAuth, elsewhere: Served) -> None:
    await a_user(auth, "ann")
    gateway, mine, lost = auth.as_workload("gateway"), await auth.begin_session(), await auth.begin_session()
    hers = await auth.begin_session("ann", A_PASSWORD)

    for _ in range(2):
        await gateway.RevokeSession(
            pb.RevokeSessionRequest(session_id=lost.session_id), metadata=bearing(mine.access_token)
        )

    assert await until_refused(elsewhere, lost.access_token) == "SESSION_ENDED"
    for session_id in (hers.session_id, str(uuid.uuid4())):
        call = gateway.RevokeSession(
            pb.RevokeSessionRequest(session_id=session_id), metadata=bearing(mine.access_token)
        )
        assert await refusal_of(call) == "SESSION_NOT_FOUND"
    assert await who(elsewhere, hers.access_token) is not None


async def test_other_roles_refuse_older_tokens_and_a_refresh_gives_newer_ones(
    auth: RunningAuth, elsewhere: Served
) -> None:
    user_id = await a_user(auth, "ann")
    gateway, ann = auth.as_workload("gateway"), await auth.begin_session("ann", A_PASSWORD)
    change = user_service_pb2.UpdateUserRequest(user_id=user_id, roles=[policy_pb2.ROLE_VIEWER])
    change.update_mask.paths.append("roles")

    await auth.users().UpdateUser(change, metadata=await auth.login())

    assert await until_refused(elsewhere, ann.access_token) == "SESSION_ENDED"
    refreshed = await gateway.RefreshSession(refresh(ann.refresh_token))
    assert await who(elsewhere, refreshed.access_token) is not None
    claims = jwt.decode(refreshed.access_token, options={"verify_signature": False})
    assert (claims["roles"], claims["rights"], claims["sid"]) == (["ROLE_VIEWER"], 2, ann.session_id)


async def test_a_disabled_user_is_out_everywhere_and_cannot_refresh(auth: RunningAuth, elsewhere: Served) -> None:
    user_id = await a_user(auth, "ann")
    gateway, ann = auth.as_workload("gateway"), await auth.begin_session("ann", A_PASSWORD)

    await auth.users().DisableUser(user_service_pb2.DisableUserRequest(user_id=user_id), metadata=await auth.login())

    assert await until_refused(elsewhere, ann.access_token) == "SESSION_ENDED"
    assert await refusal_of(gateway.RefreshSession(refresh(ann.refresh_token))) == "REFRESH_TOKEN_INVALID"


async def test_a_refresh_asks_anew_whether_the_user_is_disabled(auth: RunningAuth, url: str) -> None:
    gateway, login = auth.as_workload("gateway"), await auth.begin_session()
    async with open_database(SecretStr(url)) as engine, engine.begin() as connection:
        await connection.execute(text("UPDATE auth.users SET disabled = true"))

    assert await refusal_of(gateway.RefreshSession(refresh(login.refresh_token))) == "REFRESH_TOKEN_INVALID"


async def test_revocations_are_told_to_services_only(auth: RunningAuth) -> None:
    for workload in ("gateway", "stranger", "stack"):
        call = auth.as_workload(workload).ListRevocations(pb.ListRevocationsRequest(), metadata=await auth.login())
        assert await refusal_of(call) == "CALLER_NOT_ALLOWED"
