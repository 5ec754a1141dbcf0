"""The contract of auth, over mTLS and on a real database."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import jwt
import pytest
from google.rpc import error_details_pb2

from levimesh.auth.v1 import auth_service_pb2 as pb
from levimesh.auth.v1 import user_service_pb2 as user_pb
from levimesh.policy.v1 import policy_pb2
from services.runtime.pagination import encode_page_token
from tests.auth import ADMIN, ADMIN_PASSWORD, RunningAuth, auth_settings, running_auth
from tests.mesh import bearing, details_of, error_info

A_PASSWORD = "a long password"
NOBODY = "6f1c1f0e-0000-4000-8000-000000000009"


@pytest.fixture
async def auth(database_url: Callable[[str], str], certificates: Path) -> AsyncIterator[RunningAuth]:
    async with running_auth(auth_settings(database_url("auth")), certificates) as running:
        await running.create_admin()
        yield running


def a_new_user(username: str = "ann", password: str = A_PASSWORD, *roles: str) -> user_pb.CreateUserRequest:
    wanted = [policy_pb2.Role.Value(role) for role in roles or ("ROLE_TRADER",)]
    return user_pb.CreateUserRequest(username=username, password=password, roles=wanted)


async def test_a_login_gives_a_token_that_says_who_the_user_is(auth: RunningAuth) -> None:
    response = await auth.as_workload("gateway").Login(pb.LoginRequest(username=ADMIN, password=ADMIN_PASSWORD))

    keys = await auth.as_workload("trading").GetJwks(pb.GetJwksRequest())
    (key,) = jwt.PyJWKSet([{field.name: value for field, value in key.ListFields()} for key in keys.keys]).keys
    claims = jwt.decode(response.access_token, key, ["EdDSA"], audience="levimesh", issuer="levimesh")
    assert claims["sub"] == response.user.user_id
    assert claims["username"] == ADMIN
    assert claims["roles"] == ["ROLE_ADMIN"]
    assert claims["exp"] - claims["iat"] == response.expires_in.seconds == 300
    assert claims.keys() >= {"nbf", "jti"}
    assert jwt.get_unverified_header(response.access_token) == {"alg": "EdDSA", "kid": key.key_id, "typ": "at+jwt"}
    assert response.token_type == "Bearer"


async def test_the_user_name_of_a_login_may_be_in_any_case(auth: RunningAuth) -> None:
    response = await auth.as_workload("gateway").Login(pb.LoginRequest(username="Root", password=ADMIN_PASSWORD))

    assert response.user.username == ADMIN


@pytest.mark.parametrize(("username", "password"), [(ADMIN, "wrong"), ("nobody", ADMIN_PASSWORD)])
async def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(
    auth: RunningAuth, username: str, password: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await auth.as_workload("gateway").Login(pb.LoginRequest(username=username, password=password))

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert refused.value.details() == "the user name or the password is wrong"
    assert error_info(refused.value).reason == "ERROR_REASON_CREDENTIALS_INVALID"


async def test_no_password_reaches_the_log_or_an_error(auth: RunningAuth, caplog: pytest.LogCaptureFixture) -> None:
    secret = "a password nobody may see"
    admin = await auth.login()
    gateway, users = auth.as_workload("gateway"), auth.users()
    told = []

    with caplog.at_level(logging.DEBUG):
        for call in (
            users.CreateUser(a_new_user("twice", secret), metadata=admin),
            users.CreateUser(a_new_user("twice", secret), metadata=admin),
            users.CreateUser(a_new_user("Not A Name", secret), metadata=admin),
            gateway.Login(pb.LoginRequest(username="nobody", password=secret)),
            gateway.Login(pb.LoginRequest(username="", password=secret)),
        ):
            try:
                told.append(str(await call))
            except grpc.aio.AioRpcError as error:
                told.append(f"{error} {error.trailing_metadata()}")

    assert "UNAUTHENTICATED" in told[3]
    assert all(secret not in text for text in (*told, caplog.text))


async def test_a_created_user_can_log_in_and_see_who_they_are(auth: RunningAuth) -> None:
    users = auth.users()

    created = await users.CreateUser(a_new_user("ann"), metadata=await auth.login())

    ann = await auth.login("ann", A_PASSWORD)
    current = await users.GetCurrentUser(user_pb.GetCurrentUserRequest(), metadata=ann)
    assert current.user == created.user
    assert current.user.roles == [policy_pb2.ROLE_TRADER]


async def test_a_user_name_is_given_once(auth: RunningAuth) -> None:
    users, admin = auth.users(), await auth.login()
    await users.CreateUser(a_new_user("ann"), metadata=admin)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await users.CreateUser(a_new_user("ann", "another password"), metadata=admin)

    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert error_info(refused.value).reason == "ERROR_REASON_USERNAME_TAKEN"
    assert error_info(refused.value).metadata == {"username": "ann"}


async def test_every_wrong_field_of_a_new_user_is_named_at_once(auth: RunningAuth) -> None:
    wrong = user_pb.CreateUserRequest(username="Ann!", password="short", roles=[])

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await auth.users().CreateUser(wrong, metadata=await auth.login())

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    bad = details_of(refused.value, error_details_pb2.BadRequest)
    assert [violation.field for violation in bad.field_violations] == ["username", "password", "roles"]


@pytest.mark.parametrize("roles", [("ROLE_VIEWER",), ("ROLE_TRADER",), ("ROLE_VIEWER", "ROLE_TRADER")])
async def test_only_admins_see_and_create_users(auth: RunningAuth, roles: tuple[str, ...]) -> None:
    users = auth.users()
    await users.CreateUser(a_new_user("ann", A_PASSWORD, *roles), metadata=await auth.login())
    ann = await auth.login("ann", A_PASSWORD)

    for call in (
        users.CreateUser(a_new_user("bob"), metadata=ann),
        users.ListUsers(user_pb.ListUsersRequest(), metadata=ann),
        users.GetUser(user_pb.GetUserRequest(user_id=NOBODY), metadata=ann),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert error_info(refused.value).reason == "ERROR_REASON_ROLE_NOT_ALLOWED"


async def test_a_user_is_found_by_id(auth: RunningAuth) -> None:
    users, admin = auth.users(), await auth.login()
    created = await users.CreateUser(a_new_user(), metadata=admin)

    found = await users.GetUser(user_pb.GetUserRequest(user_id=created.user.user_id), metadata=admin)

    assert found.user == created.user
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await users.GetUser(user_pb.GetUserRequest(user_id=NOBODY), metadata=admin)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert error_info(refused.value).reason == "ERROR_REASON_USER_NOT_FOUND"


async def test_users_are_listed_by_name_a_page_at_a_time(auth: RunningAuth) -> None:
    users, admin = auth.users(), await auth.login()
    for name in ("zoe", "ann", "a-b", "max"):
        await users.CreateUser(a_new_user(name), metadata=admin)

    first = await users.ListUsers(user_pb.ListUsersRequest(page_size=3), metadata=admin)
    rest = await users.ListUsers(
        user_pb.ListUsersRequest(page_size=3, page_token=first.next_page_token), metadata=admin
    )

    assert [user.username for user in first.users] == ["a-b", "ann", "max"]
    assert [user.username for user in rest.users] == ["root", "zoe"]
    assert rest.next_page_token == ""


@pytest.mark.parametrize(
    "page_token", ["made-up", *(encode_page_token(each, user_pb.ListUsersRequest()) for each in ([], ["ann", "bob"]))]
)
async def test_a_page_token_that_was_not_given_out_is_refused(auth: RunningAuth, page_token: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await auth.users().ListUsers(user_pb.ListUsersRequest(page_token=page_token), metadata=await auth.login())

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(refused.value).reason == "ERROR_REASON_PAGE_TOKEN_INVALID"


async def test_an_altered_token_lets_nobody_in(auth: RunningAuth) -> None:
    ((_, header),) = await auth.login()
    head, claims, signature = header.removeprefix("Bearer ").split(".")
    altered = f"{head}.{claims}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await auth.users().GetCurrentUser(user_pb.GetCurrentUserRequest(), metadata=bearing(altered))

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert error_info(refused.value).reason == "ERROR_REASON_TOKEN_INVALID"


async def test_of_two_first_admins_at_once_there_is_one(database_url: Callable[[str], str], certificates: Path) -> None:
    async with running_auth(auth_settings(database_url("auth")), certificates) as auth:
        stack = auth.users("stack")
        requests = [
            user_pb.CreateFirstAdminRequest(username=f"admin{number}", password=ADMIN_PASSWORD) for number in range(8)
        ]

        answers = await asyncio.gather(*map(stack.CreateFirstAdmin, requests), return_exceptions=True)

        refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
        assert len(refused) == 7
        assert {error_info(error).reason for error in refused} == {"ERROR_REASON_ADMIN_EXISTS"}
        (created,) = (answer for answer in answers if isinstance(answer, user_pb.CreateFirstAdminResponse))
        admin = await auth.login(created.user.username)
        listed = await auth.users().ListUsers(user_pb.ListUsersRequest(), metadata=admin)
        assert listed.users == [created.user]


async def test_creating_the_same_first_admin_again_changes_nothing(auth: RunningAuth) -> None:
    again = user_pb.CreateFirstAdminRequest(username=ADMIN, password=ADMIN_PASSWORD)

    first, second = await asyncio.gather(*(auth.users("stack").CreateFirstAdmin(again) for _ in range(2)))

    assert first == second
    listed = await auth.users().ListUsers(user_pb.ListUsersRequest(), metadata=await auth.login())
    assert listed.users == [first.user]


async def test_an_existing_admin_is_not_replaced(auth: RunningAuth) -> None:
    await auth.users().CreateUser(a_new_user("ann"), metadata=await auth.login())

    for username, password in ((ADMIN, "another password"), ("other", ADMIN_PASSWORD), ("ann", A_PASSWORD)):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await auth.users("stack").CreateFirstAdmin(
                user_pb.CreateFirstAdminRequest(username=username, password=password)
            )
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert error_info(refused.value).reason == "ERROR_REASON_ADMIN_EXISTS"

    assert await auth.login()


async def test_nobody_but_the_stack_creates_the_first_admin(auth: RunningAuth) -> None:
    for workload in ("gateway", "trading", "stranger"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await auth.users(workload).CreateFirstAdmin(
                user_pb.CreateFirstAdminRequest(username="mallory", password=ADMIN_PASSWORD),
                metadata=await auth.login(),
            )
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert error_info(refused.value).reason == "ERROR_REASON_CALLER_NOT_ALLOWED"
