"""The token endpoint, over mTLS and on a real database."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Literal

import grpc
import jwt
import pytest
from argon2 import PasswordHasher

from levimesh.auth.v1 import api_key_pb2, api_key_service_pb2, api_key_service_pb2_grpc
from levimesh.auth.v1 import auth_service_pb2 as auth_pb
from levimesh.auth.v1 import oauth_service_pb2 as pb
from levimesh.auth.v1 import user_service_pb2 as user_pb
from levimesh.policy.v1 import policy_pb2
from services.auth.bootstrap import Auth
from tests.auth import RunningAuth, SetClock, auth_settings, running_auth
from tests.mesh import bearing, error_info
from tests.oauth import CALLBACK, CLIENTS, Answer, OAuth, basic

KEYS = api_key_service_pb2.DESCRIPTOR.services_by_name["ApiKeyService"]
PARALLEL = 100


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def oauth(database_url: Callable[[str], str], certificates: Path, clock: SetClock) -> AsyncIterator[OAuth]:
    settings = auth_settings(database_url("auth"), oauth_clients=CLIENTS)
    async with running_auth(settings, certificates, now=clock) as running:
        await running.create_admin()
        yield OAuth.of(running)


async def a_key(running: RunningAuth, *networks: str) -> api_key_service_pb2.CreateApiKeyResponse:
    request = api_key_service_pb2.CreateApiKeyRequest(
        name="robot", scopes=[api_key_pb2.SCOPE_READ, api_key_pb2.SCOPE_TRADE], allowed_networks=networks
    )
    stub = api_key_service_pb2_grpc.ApiKeyServiceStub(running.served.channel(KEYS))
    response: api_key_service_pb2.CreateApiKeyResponse = await stub.CreateApiKey(
        request, metadata=await running.login()
    )
    return response


async def whoami(running: RunningAuth, token: str) -> str:
    response = await running.users().GetCurrentUser(user_pb.GetCurrentUserRequest(), metadata=bearing(token))
    return response.user.username


def claims_of(auth: Auth, token: str) -> dict[str, object]:
    keys = {key.kid: key for key in auth.issuing.public_keys()}
    assert jwt.get_unverified_header(token)["kid"] in keys
    return dict(jwt.decode(token, options={"verify_signature": False}))


def is_refused(answer: Answer, error: str, status: int = 400) -> None:
    assert (answer.json["error"], answer.status) == (error, status)
    assert answer.headers["cache-control"] == "no-store"


async def test_an_api_key_is_exchanged_for_a_token_with_its_scopes(oauth: OAuth) -> None:
    key = await a_key(oauth.running)

    answer = await oauth.token(basic(key.api_key.prefix, key.secret), grant_type="client_credentials")

    assert answer.status == 200
    assert answer.content_type == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert (answer.json["token_type"], answer.json["expires_in"], answer.json["scope"]) == ("Bearer", 300, "read trade")
    claims = claims_of(oauth.running.auth, answer.json["access_token"])
    assert (claims["sid"], claims["scope"]) == (key.api_key.key_id, "read trade")
    sessions = await oauth.running.as_workload("gateway").ListSessions(
        auth_pb.ListSessionsRequest(), metadata=bearing(answer.json["access_token"])
    )
    assert len(sessions.sessions) == 1


async def test_the_key_may_stand_in_the_form_and_its_scopes_be_narrowed(oauth: OAuth) -> None:
    key = await a_key(oauth.running)

    answer = await oauth.token(
        grant_type="client_credentials", client_id=key.api_key.prefix, client_secret=key.secret, scope="trade"
    )

    assert answer.json["scope"] == "trade"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await oauth.running.as_workload("gateway").ListSessions(
            auth_pb.ListSessionsRequest(), metadata=bearing(answer.json["access_token"])
        )
    assert error_info(refused.value).reason == "ERROR_REASON_SCOPE_MISSING"


async def test_a_client_that_does_not_prove_itself_gets_no_token(oauth: OAuth) -> None:
    key = await a_key(oauth.running)
    prefix, secret = key.api_key.prefix, key.secret
    wrong = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    grant = {"grant_type": "client_credentials"}

    for answer in (
        await oauth.token(basic(prefix, wrong), **grant),
        await oauth.token(basic("lm_aaaaaaaa", secret), **grant),
        await oauth.token(("authorization", "Basic !!!"), **grant),
        await oauth.token(basic(prefix, secret), client_id="lm_aaaaaaaa", **grant),
        await oauth.token(client_id=prefix, **grant),
        await oauth.token(**grant),
    ):
        is_refused(answer, "invalid_client", 401)
        assert answer.headers["www-authenticate"].startswith("Basic ")
    is_refused(await oauth.token(basic(prefix, secret), client_secret=secret, **grant), "invalid_request")
    is_refused(await oauth.token(basic(prefix, secret), scope="admin", **grant), "invalid_scope")
    is_refused(await oauth.token(basic(prefix, secret), scope="everything", **grant), "invalid_scope")
    events = [event for event in oauth.running.audit.events if event.action.endswith("/Token")]
    assert {(event.outcome, event.status) for event in events} == {
        (2, f"UNAUTHENTICATED {error}") for error in ("invalid_client", "invalid_request", "invalid_scope")
    }
    assert all(secret not in str(event) and wrong not in str(event) for event in events)


async def test_what_a_client_only_says_of_itself_is_no_actor(oauth: OAuth) -> None:
    key = await a_key(oauth.running)
    somebody = key.api_key.prefix

    await oauth.token(client_id=somebody, grant_type="client_credentials", client_secret="made up")
    denied = oauth.running.audit.events[-1]
    await oauth.token(basic(somebody, key.secret), client_id=somebody, grant_type="client_credentials")
    done = oauth.running.audit.events[-1]

    assert (denied.actor, denied.subject["client_id"]) == ("gateway", somebody), "nobody has proved anything but it"
    assert (done.session_id, done.subject["client_id"]) == (key.api_key.key_id, somebody)
    assert done.actor not in ("gateway", somebody)


async def test_a_secret_gets_no_token_once_another_has_taken_its_place(oauth: OAuth) -> None:
    key = await a_key(oauth.running)
    client = basic(key.api_key.prefix, key.secret)
    assert (await oauth.token(client, grant_type="client_credentials")).status == 200

    stub = api_key_service_pb2_grpc.ApiKeyServiceStub(oauth.running.served.channel(KEYS))
    request = api_key_service_pb2.RotateApiKeyRequest(key_id=key.api_key.key_id)
    await stub.RotateApiKey(request, metadata=await oauth.running.login())

    is_refused(await oauth.token(client, grant_type="client_credentials"), "invalid_client", 401)


async def test_a_key_is_refused_from_elsewhere(oauth: OAuth) -> None:
    key = await a_key(oauth.running, "192.0.2.0/24")
    client = basic(key.api_key.prefix, key.secret)

    here = await oauth.token(client, ("x-levimesh-address", "192.0.2.7"), grant_type="client_credentials")
    elsewhere = await oauth.token(client, ("x-levimesh-address", "198.51.100.7"), grant_type="client_credentials")

    assert here.status == 200
    is_refused(elsewhere, "unauthorized_client")


async def test_forms_that_cannot_be_read_are_refused(oauth: OAuth) -> None:
    for answer in (
        await oauth.token(content_type="application/json", grant_type="refresh_token"),
        await oauth.token(refresh_token="x"),
        await oauth.token(grant_type="refresh_token"),
        await oauth.token(data="grant_type=refresh_token&refresh_token=a&refresh_token=b"),
        await oauth.token(data="grant_type=%ff"),
        await oauth.token(data="grant_type=ä"),
        await oauth.token(data="&".join(f"field{number}=1" for number in range(100))),
        await oauth.token(grant_type="refresh_token", refresh_token="x", request_id="mine"),
        await oauth.token(grant_type="authorization_code", client_id="web", code="x"),
    ):
        is_refused(answer, "invalid_request")
    is_refused(await oauth.token(grant_type="password", username="root", password="x"), "unsupported_grant_type")


async def test_a_session_is_refreshed_and_a_retry_gets_the_same_answer(oauth: OAuth) -> None:
    session = await oauth.running.begin_session()
    request_id = str(uuid.uuid4())

    first = await oauth.refresh(session.refresh_token, request_id=request_id)
    again = await oauth.refresh(session.refresh_token, request_id=request_id)

    assert first.status == 200
    assert first.json == again.json
    assert await whoami(oauth.running, first.json["access_token"]) == "root"
    is_refused(await oauth.refresh(session.refresh_token), "invalid_grant")
    is_refused(await oauth.refresh("unknown"), "invalid_grant")
    is_refused(await oauth.refresh(first.json["refresh_token"], scope="read"), "invalid_scope")


async def test_a_code_gives_a_session_of_the_person_who_logged_in(oauth: OAuth) -> None:
    code = await oauth.a_code()

    answer = await oauth.exchange(code)

    assert answer.status == 200
    assert answer.json.keys() == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    assert answer.json["scope"] == "read trade admin"
    assert await whoami(oauth.running, answer.json["access_token"]) == "root"
    assert (await oauth.refresh(answer.json["refresh_token"])).status == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "w" * 43},
        {"code_verifier": "v" * 42},
        {"redirect_uri": "https://app.example.com/callback"},
        {"client_id": "desk"},
    ],
)
async def test_a_code_is_good_for_its_client_and_verifier_only(oauth: OAuth, changes: dict[str, str]) -> None:
    code = await oauth.a_code()

    wrong = await oauth.exchange(code, **changes)
    right = await oauth.exchange(code)

    is_refused(wrong, "invalid_grant")
    is_refused(right, "invalid_grant")  # whoever had it, had one try


async def test_a_code_is_good_for_a_minute(oauth: OAuth, clock: SetClock) -> None:
    early, late = await oauth.a_code(), await oauth.a_code()

    clock.move(seconds=59)
    assert (await oauth.exchange(early)).status == 200
    clock.move(seconds=1)
    is_refused(await oauth.exchange(late), "invalid_grant")


async def test_sessions_that_end_while_the_password_is_checked_take_the_code_with_them(
    database_url: Callable[[str], str], certificates: Path, clock: SetClock
) -> None:
    class SlowHasher(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - argon2 names it so
            clock.move(seconds=20)
            return super().verify(hash, password)

    settings = auth_settings(database_url("auth"), oauth_clients=CLIENTS)
    async with running_auth(settings, certificates, SlowHasher(1, 8, 1), now=clock) as running:
        await running.create_admin()
        admin = (await running.begin_session()).user.user_id
        began = clock()
        code = await OAuth.of(running).a_code()
        await running.auth.sessions.sessions.end_all_of_user(admin, began + timedelta(seconds=10))

        is_refused(await OAuth.of(running).exchange(code), "invalid_grant")


async def test_an_unknown_client_gets_nothing_for_a_code(oauth: OAuth) -> None:
    is_refused(await oauth.exchange(await oauth.a_code(), client_id="other"), "invalid_client", 401)
    is_refused(await oauth.exchange("unknown"), "invalid_grant")


async def test_a_second_use_of_a_code_ends_the_session_that_came_of_it(oauth: OAuth) -> None:
    code = await oauth.a_code()
    answer = await oauth.exchange(code)

    is_refused(await oauth.exchange(code), "invalid_grant")

    is_refused(await oauth.refresh(answer.json["refresh_token"]), "invalid_grant")
    (event,) = (event for event in oauth.running.audit.events if event.action == "authorization_code_reused")
    assert event.subject["client_id"] == "web"


async def test_of_a_hundred_uses_of_a_code_one_wins_and_its_session_is_ended(oauth: OAuth) -> None:
    code = await oauth.a_code()

    answers = await asyncio.gather(*(oauth.exchange(code) for _ in range(PARALLEL)))

    (winner,) = (answer for answer in answers if answer.status == 200)
    assert [answer.json["error"] for answer in answers if answer is not winner] == ["invalid_grant"] * (PARALLEL - 1)
    is_refused(await oauth.refresh(winner.json["refresh_token"]), "invalid_grant")


async def test_a_disabled_user_gets_nothing_for_a_code(oauth: OAuth) -> None:
    admin = await oauth.running.login()
    users = oauth.running.users()
    request = user_pb.CreateUserRequest(username="ann", password="a long password", roles=[policy_pb2.ROLE_TRADER])
    created = await users.CreateUser(request, metadata=admin)
    code = (await oauth.log_in("ann", "a long password")).location["code"]

    await users.DisableUser(user_pb.DisableUserRequest(user_id=created.user.user_id), metadata=admin)

    is_refused(await oauth.exchange(code), "invalid_grant")


async def test_the_issuer_describes_itself_with_whole_urls(
    database_url: Callable[[str], str], certificates: Path
) -> None:
    settings = auth_settings(database_url("auth"), token_issuer="https://mesh.example.com:8443", token_audience="mesh")
    async with running_auth(settings, certificates) as running:
        described = await OAuth.of(running).stub.GetOpenIdConfiguration(pb.GetOpenIdConfigurationRequest())

    assert described.issuer == "https://mesh.example.com:8443"
    assert described.token_endpoint == "https://mesh.example.com:8443/oauth2/token"
    assert described.authorization_endpoint == "https://mesh.example.com:8443/oauth2/authorize"
    assert described.jwks_uri == "https://mesh.example.com:8443/.well-known/jwks.json"
    assert list(described.code_challenge_methods_supported) == ["S256"]
    assert CALLBACK not in str(described)
