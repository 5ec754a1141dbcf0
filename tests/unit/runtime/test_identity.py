"""Access tokens: what is believed and what is not."""

import base64
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.runtime.errors import Unauthenticated
from services.runtime.identity import KeysUnavailable, TokenExpired, TokenInvalid, TokenVerifier, workload_of
from tests.mesh import AUDIENCE, ISSUER, KEY_ID, SIGNING_KEY, a_token, public_keys


class AClock:
    """Time that moves when told."""

    def __init__(self) -> None:
        self.time = time.time()

    def __call__(self) -> float:
        return self.time


def a_verifier(clock: AClock | None = None, remember: int = 10_000) -> TokenVerifier:
    verifier = TokenVerifier(ISSUER, AUDIENCE, now=clock or time.time, remember=remember)
    verifier.set_keys(public_keys())
    return verifier


def unsigned(header: dict[str, object], claims: dict[str, object]) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims))
    return ".".join((*parts, ""))


def test_a_good_token_names_its_user() -> None:
    user = a_verifier().verify(a_token("ROLE_TRADER", "ROLE_VIEWER", username="ada"))
    assert (user.username, user.roles) == ("ada", frozenset({"ROLE_TRADER", "ROLE_VIEWER"}))


def test_a_token_that_was_believed_once_still_expires() -> None:
    clock = AClock()
    verifier, token = a_verifier(clock), a_token("ROLE_TRADER", exp=int(clock.time) + 300)
    verifier.verify(token)
    clock.time += 301
    with pytest.raises(TokenExpired):
        verifier.verify(token)


def test_a_token_that_was_believed_once_dies_with_its_key() -> None:
    verifier, token = a_verifier(), a_token("ROLE_TRADER")
    verifier.verify(token)
    verifier.set_keys([{**public_keys()[0], "kid": "another"}])
    with pytest.raises(TokenInvalid):
        verifier.verify(token)


def test_more_tokens_than_are_remembered_are_verified_all_the_same() -> None:
    verifier = a_verifier(remember=3)
    for number in range(10):
        assert verifier.verify(a_token("ROLE_TRADER", username=f"user{number}")).username == f"user{number}"


def test_nothing_is_believed_before_the_keys_are_known() -> None:
    with pytest.raises(KeysUnavailable):
        TokenVerifier(ISSUER, AUDIENCE).verify(a_token("ROLE_TRADER"))


CLAIMS: dict[str, object] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "x",
    "username": "x",
    "roles": ["ROLE_ADMIN"],
    "iat": int(time.time()),
    "nbf": int(time.time()),
    "exp": int(time.time()) + 86_400,
}


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param("not a token", id="no token at all"),
        pytest.param(a_token("ROLE_ADMIN")[:-4] + "AAAA", id="altered signature"),
        pytest.param(a_token("ROLE_ADMIN", key=Ed25519PrivateKey.generate()), id="signed with another key"),
        pytest.param(a_token("ROLE_ADMIN", iss="elsewhere"), id="another issuer"),
        pytest.param(a_token("ROLE_ADMIN", aud="elsewhere"), id="another audience"),
        pytest.param(a_token("ROLE_ADMIN", exp=int(time.time()) - 1), id="expired"),
        pytest.param(a_token("ROLE_ADMIN", nbf=int(time.time()) + 80_000), id="not valid yet"),
        pytest.param(a_token("ROLE_ADMIN", exp="soon"), id="expiry that is no time"),
        pytest.param(a_token("ROLE_ADMIN", roles=None), id="no roles"),
        pytest.param(unsigned({"alg": "none", "kid": KEY_ID, "typ": "at+jwt"}, CLAIMS), id="algorithm none"),
        pytest.param(
            jwt.encode(CLAIMS, public_keys()[0]["x"], "HS256", {"kid": KEY_ID, "typ": "at+jwt"}),
            id="HMAC of the key",
        ),
        pytest.param(jwt.encode(CLAIMS, SIGNING_KEY, "EdDSA", {"kid": KEY_ID, "typ": "JWT"}), id="another type"),
        pytest.param(jwt.encode(CLAIMS, SIGNING_KEY, "EdDSA", {"kid": "../x", "typ": "at+jwt"}), id="unknown key id"),
        pytest.param(
            jwt.encode(CLAIMS, SIGNING_KEY, "EdDSA", {"kid": KEY_ID, "typ": "at+jwt", "crit": ["x"], "x": 1}),
            id="critical header that nobody knows",
        ),
    ],
)
def test_a_token_that_is_not_good_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        a_verifier().verify(token)


@pytest.mark.parametrize(
    ("names", "workload"),
    [
        ([b"localhost", b"spiffe://levimesh/trading"], "trading"),
        ([b"spiffe://elsewhere/trading"], ""),
        ([b"trading"], ""),
        ([], ""),
    ],
)
def test_a_workload_is_named_by_the_spiffe_id_of_this_mesh(names: list[bytes], workload: str) -> None:
    assert workload_of(names) == workload
