"""Access tokens: what is believed and what is not."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import OKPAlgorithm

from services.runtime.errors import Unauthenticated
from services.runtime.tokens import KeysUnavailable, SessionEnded, TokenExpired, TokenInvalid, TokenVerifier
from tests.mesh import A_SESSION_ID, A_USER_ID, AUDIENCE, ISSUER, KEY_ID, SIGNING_KEY, a_token, public_keys

NOW = int(time.time())
HEADER: dict[str, object] = {"alg": "EdDSA", "kid": KEY_ID, "typ": "at+jwt"}
CLAIMS: dict[str, object] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": A_USER_ID,
    "username": "mallory",
    "roles": ["ROLE_ADMIN"],
    "rights": 1,
    "sid": A_SESSION_ID,
    "tier": "elevated",
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 86_400,
}
FOREIGN_KEY = Ed25519PrivateKey.generate()
FOREIGN_JWK = OKPAlgorithm.to_jwk(FOREIGN_KEY.public_key(), as_dict=True)
PUBLIC_PEM = SIGNING_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PUBLIC_RAW = SIGNING_KEY.public_key().public_bytes_raw()


class AClock:
    """Time that moves when told."""

    def __init__(self) -> None:
        self.time = time.time()

    def __call__(self) -> float:
        return self.time


def a_verifier(clock: AClock | None = None, **how: Any) -> TokenVerifier:
    verifier = TokenVerifier(ISSUER, AUDIENCE, now=clock or time.time, **how)
    verifier.set_keys(public_keys())
    return verifier


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def signed(header: str | Mapping[str, object], claims: str | Mapping[str, object], key: Any = SIGNING_KEY) -> str:
    """A token of exactly this header and these claims, which may be no JSON, signed with ``key`` (bytes: by HMAC)."""
    parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
    content = ".".join(encoded(part.encode()) for part in parts)
    if isinstance(key, bytes):
        signature = hmac.digest(key, content.encode(), hashlib.sha256)
    else:
        signature = b"" if key is None else key.sign(content.encode())
    return f"{content}.{encoded(signature)}"


def with_claims(**claims: object) -> str:
    return signed(HEADER, {**CLAIMS, **claims})


def without_claim(name: str) -> str:
    return signed(HEADER, {claim: value for claim, value in CLAIMS.items() if claim != name})


def foreign(**header: object) -> str:
    """A token that somebody else signed, and that tells by which key it is to be checked."""
    return signed({**HEADER, **header}, CLAIMS, FOREIGN_KEY)


def ours(**header: object) -> str:
    """A token that our key signed, with more in the header."""
    return signed({**HEADER, **header}, CLAIMS)


def repeated(part: Mapping[str, object], name: str, value: object) -> str:
    """The JSON of ``part``, where ``name`` stands once more."""
    return json.dumps(part)[:-1] + f", {json.dumps(name)}: {json.dumps(value)}}}"


def test_a_good_token_says_who_and_how_far() -> None:
    token = a_token("ROLE_TRADER", "ROLE_VIEWER", username="ada", scope="read trade", tier="elevated")

    user = a_verifier().verify(token)

    assert (user.user_id, user.username, user.session_id) == (A_USER_ID, "ada", A_SESSION_ID)
    assert user.roles == {"ROLE_TRADER", "ROLE_VIEWER"}
    assert (user.scopes, user.tier) == (frozenset({"read", "trade"}), "elevated")


def test_a_person_who_logged_in_is_not_limited_to_scopes() -> None:
    assert a_verifier().verify(a_token("ROLE_TRADER")).scopes is None


def test_a_token_made_by_hand_as_the_attacks_are_would_be_believed() -> None:
    assert a_verifier().verify(signed(HEADER, CLAIMS)).username == "mallory"
    assert a_verifier().verify(signed(HEADER, repeated(CLAIMS, "act", {"a": 1}))).username == "mallory"


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param("not a token", id="no token at all"),
        pytest.param("..", id="three parts of nothing"),
        pytest.param(a_token("ROLE_ADMIN")[:-4] + "AAAA", id="altered signature"),
        pytest.param(a_token("ROLE_ADMIN", key=FOREIGN_KEY), id="signed with another key"),
        pytest.param(signed({**HEADER, "alg": "none"}, CLAIMS, None), id="algorithm none"),
        pytest.param(signed({**HEADER, "alg": "None"}, CLAIMS, None), id="algorithm None"),
        pytest.param(signed(HEADER, CLAIMS, None), id="no signature"),
        pytest.param(signed({**HEADER, "alg": "HS256"}, CLAIMS, PUBLIC_PEM), id="HMAC with the public key in PEM"),
        pytest.param(signed({**HEADER, "alg": "HS256"}, CLAIMS, PUBLIC_RAW), id="HMAC with the public key, raw"),
        pytest.param(
            signed({**HEADER, "alg": "HS256"}, CLAIMS, public_keys()[0]["x"].encode()),
            id="HMAC with the key as published",
        ),
        pytest.param(signed(HEADER, CLAIMS, PUBLIC_PEM), id="HMAC that calls itself EdDSA"),
        pytest.param(
            jwt.encode(CLAIMS, ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": KEY_ID, "typ": "at+jwt"}),
            id="another algorithm",
        ),
        pytest.param(signed(HEADER, CLAIMS, ed448.Ed448PrivateKey.generate()), id="another curve"),
        pytest.param(foreign(jku="https://evil.example/jwks.json"), id="foreign key by jku"),
        pytest.param(foreign(jwk=FOREIGN_JWK), id="foreign key by jwk"),
        pytest.param(foreign(x5u="https://evil.example/certificate.pem"), id="foreign key by x5u"),
        pytest.param(foreign(x5c=["MIIB"]), id="foreign key by x5c"),
        pytest.param(foreign(kid="https://evil.example/jwks.json"), id="foreign key by kid"),
        pytest.param(foreign(kid="../../dev/null"), id="path as kid"),
        pytest.param(foreign(kid="x' UNION SELECT 'key"), id="SQL as kid"),
        pytest.param(foreign(kid=""), id="empty kid"),
        pytest.param(foreign(kid=[KEY_ID]), id="list as kid"),
        pytest.param(ours(jku="https://evil.example/jwks.json"), id="jku beside our key"),
        pytest.param(ours(jwk=FOREIGN_JWK), id="jwk beside our key"),
        pytest.param(ours(x5u="https://evil.example/certificate.pem"), id="x5u beside our key"),
        pytest.param(ours(x5c=["MIIB"]), id="x5c beside our key"),
        pytest.param(ours(kid="unknown"), id="unknown kid"),
        pytest.param(signed({"alg": "EdDSA", "typ": "at+jwt"}, CLAIMS), id="no kid"),
        pytest.param(ours(crit=["x"], x=1), id="critical header that nobody knows"),
        pytest.param(ours(crit=[]), id="empty crit"),
        pytest.param(ours(crit=["b64"], b64=False), id="payload that is not encoded"),
        pytest.param(ours(typ="JWT"), id="token of another type"),
        pytest.param(ours(typ="id+jwt"), id="identity token"),
        pytest.param(signed({"alg": "EdDSA", "kid": KEY_ID}, CLAIMS), id="no type"),
        pytest.param(signed(repeated(HEADER, "alg", "EdDSA"), CLAIMS), id="duplicate header"),
        pytest.param(signed(HEADER, repeated(CLAIMS, "roles", ["ROLE_ADMIN"])), id="duplicate claim"),
        pytest.param(signed(HEADER, repeated(CLAIMS, "sub", "somebody else")), id="duplicate subject"),
        pytest.param(
            signed(HEADER, json.dumps({**CLAIMS, "act": {}})[:-3] + '{"a": 1, "a": 2}}'), id="duplicate inside"
        ),
        pytest.param(signed(HEADER, "[1]"), id="claims that are no object"),
        pytest.param(signed("[1]", CLAIMS), id="header that is no object"),
        pytest.param(signed(HEADER, "["), id="claims that are no JSON"),
        pytest.param(signed(HEADER, "[" * 5_000), id="deeply nested claims"),
        pytest.param(with_claims(iss="elsewhere"), id="another issuer"),
        pytest.param(with_claims(aud="elsewhere"), id="another audience"),
        pytest.param(with_claims(aud=[AUDIENCE, "elsewhere"]), id="several audiences"),
        pytest.param(with_claims(exp=NOW - 1), id="expired"),
        pytest.param(with_claims(nbf=NOW + 80_000), id="not valid yet"),
        pytest.param(with_claims(iat=NOW + 80_000), id="issued in the future"),
        pytest.param(with_claims(exp="soon"), id="expiry that is no time"),
        pytest.param(with_claims(exp=True), id="expiry that is a truth"),
        pytest.param(signed(HEADER, json.dumps({**CLAIMS, "exp": float("inf")})), id="expiry without an end"),
        pytest.param(with_claims(roles="ROLE_ADMIN"), id="roles that are no list"),
        pytest.param(with_claims(roles=None), id="no roles"),
        pytest.param(with_claims(scope=["admin"]), id="scopes that are no text"),
        pytest.param(with_claims(sub=""), id="empty subject"),
        pytest.param(with_claims(sub=1), id="subject that is no text"),
        pytest.param(with_claims(rights="1"), id="rights that are no number"),
        *(pytest.param(without_claim(name), id=f"without {name}") for name in CLAIMS),
    ],
)
def test_a_token_that_is_not_good_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        a_verifier().verify(token)


def test_a_token_may_be_a_little_ahead_of_the_clock_here() -> None:
    assert a_verifier(AClock()).verify(a_token("ROLE_TRADER", nbf=int(time.time()) + 3, iat=int(time.time()) + 3))


def test_an_oversized_token_is_refused_before_it_is_read() -> None:
    verifier = TokenVerifier(ISSUER, AUDIENCE)
    with pytest.raises(TokenInvalid, match="longer"):
        verifier.verify(with_claims(padding="x" * 8_192))


def test_a_token_of_almost_eight_kilobytes_is_read() -> None:
    token = with_claims(padding="x" * 5_500)
    assert 7_500 < len(token) <= 8_192
    assert a_verifier().verify(token)


def test_a_key_of_another_kind_is_not_taken() -> None:
    verifier = TokenVerifier(ISSUER, AUDIENCE)
    key = ed448.Ed448PrivateKey.generate()
    verifier.set_keys([{**OKPAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": KEY_ID}, *a_foreign_key()])
    with pytest.raises(TokenInvalid):
        verifier.verify(signed(HEADER, CLAIMS, key))


def a_foreign_key() -> list[dict[str, str]]:
    return [{**{name: str(value) for name, value in FOREIGN_JWK.items()}, "kid": "foreign"}]


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


def test_a_token_that_was_believed_once_dies_when_its_key_id_gets_another_key() -> None:
    verifier, token = a_verifier(), a_token("ROLE_TRADER")
    verifier.verify(token)
    verifier.set_keys([{**a_foreign_key()[0], "kid": KEY_ID}])
    with pytest.raises(TokenInvalid):
        verifier.verify(token)


@pytest.mark.parametrize("revoked", [A_SESSION_ID, f"{A_USER_ID}/1"])
def test_a_token_that_was_believed_once_dies_with_its_session_and_with_its_rights(revoked: str) -> None:
    verifier, token = a_verifier(), a_token("ROLE_TRADER")
    verifier.verify(token)

    verifier.set_revoked([revoked, "another"])

    with pytest.raises(SessionEnded):
        verifier.verify(token)


def test_a_token_of_a_revoked_session_is_refused_at_first_sight() -> None:
    verifier = a_verifier()
    verifier.set_revoked([A_SESSION_ID])
    with pytest.raises(SessionEnded):
        verifier.verify(a_token("ROLE_TRADER"))


def test_tokens_with_newer_rights_and_of_other_sessions_stay_good() -> None:
    verifier = a_verifier()
    verifier.set_revoked([f"{A_USER_ID}/1", "another session"])
    assert verifier.verify(a_token("ROLE_TRADER", rights=2))


def test_a_verifier_says_what_it_lacks() -> None:
    verifier = TokenVerifier(ISSUER, AUDIENCE, trust_revocations_for=60)
    with pytest.raises(KeysUnavailable, match="keys"):
        verifier.check_supplies()
    verifier.set_keys(public_keys())
    with pytest.raises(KeysUnavailable, match="sessions"):
        verifier.check_supplies()
    verifier.set_revoked([])
    verifier.check_supplies()


def test_nobody_is_let_in_before_it_is_known_what_is_revoked_nor_long_after() -> None:
    clock = AClock()
    verifier, token = a_verifier(clock, trust_revocations_for=60), a_token("ROLE_TRADER")
    with pytest.raises(KeysUnavailable):
        verifier.verify(token)

    verifier.set_revoked([])
    assert verifier.verify(token)

    clock.time += 61
    with pytest.raises(KeysUnavailable):
        verifier.verify(token)


def test_more_tokens_than_are_remembered_are_verified_all_the_same() -> None:
    verifier = a_verifier(remember=3)
    for number in range(10):
        assert verifier.verify(a_token("ROLE_TRADER", username=f"user{number}")).username == f"user{number}"


def test_nothing_is_believed_before_the_keys_are_known() -> None:
    with pytest.raises(KeysUnavailable):
        TokenVerifier(ISSUER, AUDIENCE).verify(a_token("ROLE_TRADER"))
