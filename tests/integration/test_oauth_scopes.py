"""What a client asks a person for: scopes that limit its session, and to know who the person is."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from google.protobuf.json_format import MessageToDict

from levimesh.auth.v1 import auth_service_pb2 as auth_pb
from levimesh.auth.v1 import oauth_service_pb2 as pb
from levimesh.auth.v1 import user_service_pb2 as user_pb
from levimesh.policy.v1 import policy_pb2
from tests.auth import RunningAuth, SetClock, auth_settings, running_auth
from tests.mesh import bearing, error_info
from tests.oauth import CLIENTS, OAuth


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def oauth(database_url: Callable[[str], str], certificates: Path, clock: SetClock) -> AsyncIterator[OAuth]:
    settings = auth_settings(database_url("auth"), oauth_clients=CLIENTS)
    async with running_auth(settings, certificates, now=clock) as running:
        await running.create_admin()
        yield OAuth.of(running)


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


async def what_stops(running: RunningAuth, token: str, request: Any) -> str:
    """Why a call of UserService with this token is refused; "" when it is not."""
    method = type(request).__name__.removesuffix("Request")
    try:
        await getattr(running.users(), method)(request, metadata=bearing(token))
    except grpc.aio.AioRpcError as error:
        reason: str = error_info(error).reason
        return reason.removeprefix("ERROR_REASON_")
    return ""


ME = user_pb.GetCurrentUserRequest()
A_USER = user_pb.CreateUserRequest(username="bob", password="a long password", roles=[policy_pb2.ROLE_VIEWER])
CHANGE = user_pb.ChangePasswordRequest(current_password="x", new_password="another password")


async def test_a_session_is_limited_to_the_scopes_that_were_asked_for_after_a_refresh_too(oauth: OAuth) -> None:
    answer = await oauth.exchange(await oauth.a_code(scope="trade read"))
    refreshed = await oauth.refresh(answer.json["refresh_token"])
    directly = await oauth.running.as_workload("gateway").RefreshSession(
        auth_pb.RefreshSessionRequest(
            refresh_token=refreshed.json["refresh_token"], request_id="6f1c1f0e-0000-4000-8000-00000000000a"
        )
    )

    assert (answer.json["scope"], "id_token" in answer.json) == ("read trade", False)
    for token in (answer.json["access_token"], refreshed.json["access_token"], directly.access_token):
        assert claims_of(token)["scope"] == "read trade"
        assert await what_stops(oauth.running, token, ME) == ""
        assert await what_stops(oauth.running, token, A_USER) == "SCOPE_MISSING", "though it is an admin's"
        assert await what_stops(oauth.running, token, CHANGE) == "SCOPE_MISSING"


async def test_without_a_scope_a_session_is_limited_by_the_roles_alone(oauth: OAuth) -> None:
    answer = await oauth.exchange(await oauth.a_code())

    assert answer.json["scope"] == "read trade admin"
    assert "scope" not in claims_of(answer.json["access_token"])
    assert await what_stops(oauth.running, answer.json["access_token"], CHANGE) == "CREDENTIALS_INVALID"


async def test_whoever_only_wants_to_know_who_it_is_may_do_nothing(oauth: OAuth) -> None:
    answer = await oauth.exchange(await oauth.a_code(scope="openid"))

    assert answer.json["scope"] == "openid"
    assert "id_token" in answer.json
    for request in (ME, A_USER, CHANGE):
        assert await what_stops(oauth.running, answer.json["access_token"], request) == "SCOPE_MISSING"


async def test_an_id_token_tells_the_client_who_has_logged_in(oauth: OAuth, clock: SetClock) -> None:
    logged_in = clock()
    code = await oauth.a_code(scope="openid read", nonce="of the client")
    clock.move(seconds=30)

    answer = await oauth.exchange(code)

    me = (await oauth.running.begin_session()).user
    id_token = answer.json["id_token"]
    claims = await verified(oauth, id_token)
    assert jwt.get_unverified_header(id_token)["typ"] == "JWT"
    assert claims == {
        "iss": "levimesh",
        "aud": "web",
        "sub": me.user_id,
        "sid": claims_of(answer.json["access_token"])["sid"],
        "preferred_username": "root",
        "nonce": "of the client",
        "auth_time": int(logged_in.timestamp()),
        "iat": int(clock().timestamp()),
        "exp": int(clock().timestamp()) + 300,
    }
    assert answer.json["scope"] == "openid read"
    assert await what_stops(oauth.running, answer.json["access_token"], ME) == ""
    assert await what_stops(oauth.running, id_token, ME) == "TOKEN_INVALID", "it is no access token"


async def test_the_nonce_comes_through_the_login_page_and_stays_away_where_none_was_sent(oauth: OAuth) -> None:
    page = await oauth.show_login(scope="openid", nonce='"<n>')
    without = await oauth.exchange(await oauth.a_code(scope="openid"))

    assert 'name="nonce" value="&#34;&lt;n&gt;"' in page.text
    assert "nonce" not in claims_of(without.json["id_token"])


async def test_the_issuer_says_what_can_be_asked_for(oauth: OAuth) -> None:
    described = await oauth.stub.GetOpenIdConfiguration(pb.GetOpenIdConfigurationRequest())

    assert list(described.scopes_supported) == ["openid", "read", "trade", "admin"]
    assert {"auth_time", "nonce", "preferred_username"} <= set(described.claims_supported)
    assert list(described.id_token_signing_alg_values_supported) == ["EdDSA"]


async def verified(oauth: OAuth, id_token: str) -> dict[str, Any]:
    """What an ID token says to the client ``web``, which checks it by the published keys."""
    published = await oauth.running.as_workload("gateway").GetJwks(auth_pb.GetJwksRequest())
    keys = jwt.PyJWKSet.from_dict(MessageToDict(published))
    key = keys[jwt.get_unverified_header(id_token)["kid"]]
    return jwt.decode(id_token, key, algorithms=["EdDSA"], audience="web", options={"verify_iat": False})
