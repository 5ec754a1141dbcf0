"""People whom another issuer vouches for, by tokens of an issuer that speaks OpenID Connect over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from jwt.utils import base64url_encode

from levimesh.auth.v1 import auth_service_pb2 as pb
from levimesh.auth.v1 import user_pb2
from levimesh.auth.v1 import user_service_pb2 as user_service
from levimesh.foreign.envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc
from levimesh.policy.v1 import policy_pb2
from tests.api_keys import Checked
from tests.auth import RunningAuth, SetClock, auth_settings, running_auth
from tests.issuer import AUDIENCE, Issuer, IssuerKey, an_rsa_key, running_issuer
from tests.mesh import error_info

AUTHORIZATION = external_auth_pb2.DESCRIPTOR.services_by_name["Authorization"]
Metadata = tuple[tuple[str, str], ...]
Refusal = tuple[int, str]


@dataclass(frozen=True)
class Outside:
    """An auth service that takes the tokens of ``issuer``, which signs with ``key``."""

    running: RunningAuth
    issuer: Issuer
    key: IssuerKey
    clock: SetClock

    def token(self, *roles: str, **changes: Any) -> str:
        return self.issuer.token(self.key, *roles, **changes)

    async def check(self, token: str, **headers: str) -> Checked:
        """What the gateway is told of a call with ``token``."""
        request = external_auth_pb2.CheckRequest()
        request.attributes.request.http.headers.update({"authorization": f"Bearer {token}", **headers})
        stub = external_auth_pb2_grpc.AuthorizationStub(self.running.served.channel(AUTHORIZATION))
        return Checked(await stub.Check(request))

    async def admitted(self, token: str) -> Metadata:
        """The metadata with our own token for it."""
        checked = await self.check(token)
        assert checked.admitted, checked.refusal
        return checked.bearing

    async def refused(self, token: str) -> Refusal:
        """The HTTP status and the reason of the refusal."""
        return (await self.check(token)).refusal

    async def user(self, own: Metadata) -> user_pb2.User:
        """Who our own token says it is."""
        me = await self.running.users().GetCurrentUser(user_service.GetCurrentUserRequest(), metadata=own)
        return me.user


INVALID: Refusal = (401, "TOKEN_INVALID")
ENDED: Refusal = (401, "SESSION_ENDED")


@pytest.fixture(params=["ES256"])
def algorithm(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def outside(database_url: Callable[[str], str], certificates: Path, algorithm: str) -> AsyncIterator[Outside]:
    async with running_issuer() as issuer:
        key = IssuerKey.of(algorithm)
        issuer.publish(key)
        known = {
            "issuer": issuer.url,
            "audience": AUDIENCE,
            "jwks_uri": issuer.jwks_uri,
            "roles": {"mesh-viewers": "viewer", "mesh-traders": "trader", "mesh-admins": "admin"},
        }
        settings = auth_settings(database_url("auth"), external_issuers=[known])
        clock = SetClock()
        async with running_auth(settings, certificates, now=clock) as running:
            await running.create_admin()
            yield Outside(running, issuer, key, clock)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"], indirect=True)
async def test_a_person_becomes_a_user_with_the_roles_that_theirs_mean(outside: Outside) -> None:
    own = await outside.admitted(outside.token("mesh-traders", "something else"))

    user = await outside.user(own)
    assert (user.username, list(user.roles)) == ("ann-example.com", [policy_pb2.ROLE_TRADER])
    claims = (await outside.check(outside.token("mesh-traders"))).claims
    assert (claims["iss"], claims["exp"] - claims["iat"]) == ("levimesh", 300)


async def test_the_same_person_is_the_same_user_with_a_session_for_each_login(outside: Outside) -> None:
    first = await outside.admitted(outside.token("mesh-viewers"))
    renewed = await outside.admitted(outside.token("mesh-viewers", exp=outside.issuer.claims()["exp"] + 60))
    elsewhere = await outside.admitted(outside.token("mesh-viewers", sid="login-2"))

    users = [await outside.user(own) for own in (first, renewed, elsewhere)]
    assert len({user.user_id for user in users}) == 1
    sessions = await outside.running.as_workload("gateway").ListSessions(pb.ListSessionsRequest(), metadata=first)
    assert len(sessions.sessions) == 2


async def test_a_hundred_first_calls_of_one_person_make_one_user(outside: Outside) -> None:
    token = outside.token("mesh-viewers")

    answers = await asyncio.gather(*(outside.admitted(token) for _ in range(100)))

    assert len({(await outside.user(own)).user_id for own in answers[:5]}) == 1
    listed = await outside.running.users().ListUsers(
        user_service.ListUsersRequest(), metadata=await outside.running.login()
    )
    assert [user.username for user in listed.users] == ["ann-example.com", "root"]


async def test_a_name_that_is_taken_is_not_taken_over(outside: Outside) -> None:
    own = await outside.admitted(outside.token("mesh-viewers", preferred_username="root"))

    user = await outside.user(own)
    assert user.username.startswith("root-")
    assert list(user.roles) == [policy_pb2.ROLE_VIEWER]


async def test_nobody_logs_in_with_a_password_as_somebody_from_outside(outside: Outside) -> None:
    await outside.admitted(outside.token("mesh-viewers"))

    for password in ("", " ", "x"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await outside.running.login("ann-example.com", password)
        assert error_info(refused.value).reason in {"ERROR_REASON_CREDENTIALS_INVALID", "ERROR_REASON_FIELD_VIOLATION"}


async def test_without_a_role_that_means_something_nobody_comes_in(outside: Outside) -> None:
    assert await outside.refused(outside.token("other")) == (403, "ROLE_NOT_ALLOWED")
    assert await outside.refused(outside.token(realm_access="mesh-admins")) == (403, "ROLE_NOT_ALLOWED")
    assert await outside.refused(outside.token(realm_access={"roles": {"mesh-admins": 1}})) == (403, "ROLE_NOT_ALLOWED")


async def test_the_roles_are_always_those_of_the_newest_token(outside: Outside) -> None:
    await outside.admitted(outside.token("mesh-admins"))

    own = await outside.admitted(outside.token("mesh-viewers"))

    assert list((await outside.user(own)).roles) == [policy_pb2.ROLE_VIEWER]


async def test_an_older_token_gives_no_role_that_a_newer_one_has_taken_away(outside: Outside) -> None:
    now = outside.issuer.claims()["iat"]
    older = outside.token("mesh-admins", iat=now - 60)
    await outside.admitted(older)
    newer = outside.token("mesh-viewers", iat=now - 30)
    await outside.admitted(newer)
    outside.clock.move(seconds=1)

    again = await outside.check(older)

    assert again.claims["roles"] == ["ROLE_VIEWER"]
    assert list((await outside.user(again.bearing)).roles) == [policy_pb2.ROLE_VIEWER]
    assert await outside.refused(outside.token("other", iat=now)) == (403, "ROLE_NOT_ALLOWED")
    outside.clock.move(seconds=1)
    assert await outside.refused(older) == (403, "ROLE_NOT_ALLOWED"), "the newest token has no role at all"
    assert await outside.refused(newer) == (403, "ROLE_NOT_ALLOWED")


async def test_of_tokens_that_come_at_once_the_newest_decides_about_the_roles(outside: Outside) -> None:
    now = outside.issuer.claims()["iat"]
    names = ("mesh-viewers", "mesh-traders", "mesh-admins")
    tokens = [outside.token(names[age % 3], iat=now - age, sid=f"login-{age}") for age in range(12)]
    newest = await outside.admitted(tokens[-1])

    await asyncio.gather(*(outside.admitted(token) for token in reversed(tokens)))

    own = await outside.admitted(outside.token("mesh-viewers", iat=now - 60))
    assert list((await outside.user(own)).roles) == [policy_pb2.ROLE_VIEWER]
    assert newest


async def test_a_session_shows_where_and_with_what_it_began(outside: Outside) -> None:
    token = outside.token("mesh-viewers")
    headers = {"user-agent": "a browser " * 99, "x-levimesh-address": "203.0.113.7"}

    own = (await outside.check(token, **headers)).bearing

    listed = await outside.running.as_workload("gateway").ListSessions(pb.ListSessionsRequest(), metadata=own)
    (session,) = listed.sessions
    assert (session.address, session.user_agent) == ("203.0.113.7", ("a browser " * 99)[:256])


async def test_who_comes_in_and_with_which_roles_is_recorded(outside: Outside) -> None:
    for role in ("mesh-admins", "mesh-admins", "mesh-viewers"):
        await outside.admitted(outside.token(role))
        outside.clock.move(seconds=1)

    events = [event for event in outside.running.audit.events if event.action.startswith("external_")]
    assert [(event.action, event.subject["roles"]) for event in events] == [
        ("external_login", "ROLE_ADMIN"),
        ("external_roles_changed", "ROLE_VIEWER"),
    ]
    assert {event.subject["issuer"] for event in events} == {outside.issuer.url}


async def test_the_last_admin_keeps_the_role_and_gets_no_token_for_it(outside: Outside) -> None:
    own = await outside.admitted(outside.token("mesh-admins"))
    root = (await outside.running.begin_session()).user
    demotion = user_service.UpdateUserRequest(
        user_id=root.user_id, roles=[policy_pb2.ROLE_VIEWER], update_mask=FieldMask(paths=["roles"])
    )
    await outside.running.users().UpdateUser(demotion, metadata=own)

    checks = [await outside.check(outside.token("mesh-viewers")) for _ in range(3)]

    assert [checked.claims["roles"] for checked in checks] == [["ROLE_VIEWER"]] * 3
    assert list((await outside.user(own)).roles) == [policy_pb2.ROLE_ADMIN]
    assert not [event for event in outside.running.audit.events if event.action == "external_roles_changed"]


async def test_a_session_that_is_ended_here_stays_ended(outside: Outside) -> None:
    token = outside.token("mesh-viewers")
    own = await outside.admitted(token)

    await outside.running.as_workload("gateway").Logout(pb.LogoutRequest(), metadata=own)

    assert await outside.admitted(token), "for a moment, with a token that every service refuses"
    outside.clock.move(seconds=1)
    assert await outside.refused(token) == ENDED
    assert await outside.refused(outside.token("mesh-viewers", exp=outside.issuer.claims()["exp"] + 60)) == ENDED
    assert await outside.admitted(outside.token("mesh-viewers", sid="login-2"))


async def test_a_disabled_user_stays_out(outside: Outside) -> None:
    token = outside.token("mesh-viewers")
    user = await outside.user(await outside.admitted(token))

    await outside.running.users().DisableUser(
        user_service.DisableUserRequest(user_id=user.user_id), metadata=await outside.running.login()
    )
    outside.clock.move(seconds=1)

    assert await outside.refused(token) == ENDED
    assert await outside.refused(outside.token("mesh-viewers", sid="login-2")) == ENDED


NOT_FOR_US: list[dict[str, Any]] = [
    {"iss": "https://other.example.com"},
    {"iss": None},
    {"aud": "account"},
    {"aud": None},
    {"exp": 1},
    {"exp": None},
    {"iat": None},
    {"iat": -(10**30)},
    {"sub": None},
    {"nbf": 2**40},
    {"typ": "ID"},
    {"typ": "Refresh"},
    {"cnf": {"jkt": "x"}},
    {"headers": {"kid": "unknown"}},
    {"headers": {"kid": ""}},
    {"headers": {"crit": ["b64"], "b64": True}},
]


async def test_a_token_that_is_not_for_us_is_refused(outside: Outside) -> None:
    for changes in NOT_FOR_US:
        assert (changes, await outside.refused(outside.token("mesh-admins", **changes))) == (changes, INVALID)
    assert await outside.admitted(outside.token("mesh-admins"))


async def test_a_token_that_the_issuer_has_not_signed_is_refused(outside: Outside) -> None:
    good = outside.token("mesh-admins")
    header, payload, signature = good.split(".")
    kid = outside.key.kid
    foreign = IssuerKey.of("ES256")
    public = json.dumps(outside.key.public_jwk())
    none = base64url_encode(json.dumps({"alg": "none", "kid": kid}).encode()).decode()

    for token in (
        f"{none}.{payload}.",
        f"{none}.{payload}.{signature}",
        jwt.encode(outside.issuer.claims("mesh-admins"), "s" * 32, "HS256", {"kid": kid}),
        outside.issuer.token(foreign, "mesh-admins", headers={"kid": kid}),
        outside.issuer.token(foreign, "mesh-admins", headers={"jwk": foreign.public_jwk()}),
        outside.issuer.token(IssuerKey.of("RS256"), "mesh-admins", headers={"kid": kid}),
        f"{header}.{payload[:-4]}AAAA.{signature}",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        public,
        good + "x" * 9000,
        "[" * 4000,
    ):
        assert await outside.refused(token) == INVALID
    assert await outside.admitted(good)


async def test_weak_keys_do_not_count(outside: Outside) -> None:
    weak = IssuerKey(an_rsa_key(1024), "RS256")
    outside.issuer.publish(weak)

    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = outside.issuer.token(weak, "mesh-admins")

    assert await outside.refused(token) == (503, "DEPENDENCY_UNAVAILABLE")  # there is no key that counts


async def test_keys_are_fetched_once_and_unknown_ones_do_not_make_it_more(outside: Outside) -> None:
    token = outside.token("mesh-viewers")

    await asyncio.gather(*(outside.admitted(token) for _ in range(20)))
    for number in range(20):
        await outside.refused(outside.token("mesh-viewers", headers={"kid": f"unknown-{number}"}))

    assert outside.issuer.fetches == 1


async def test_while_no_key_can_be_had_callers_are_told_so(outside: Outside) -> None:
    outside.issuer.works = False

    assert await outside.refused(outside.token("mesh-viewers")) == (503, "DEPENDENCY_UNAVAILABLE")
