"""When signing keys are published, sign, and are forgotten."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from services.auth.adapters.ed25519 import Ed25519KeyRing, JwtTokens, KeyNotOpened
from services.auth.adapters.sealing import Sealer
from services.auth.domain.signing_keys import KeySchedule, SealedKey
from services.auth.domain.tokens import Grant, Scope
from services.auth.domain.users import RateTier, Role, User

NOON = datetime(2024, 8, 9, 12, tzinfo=UTC)
SCHEDULE = KeySchedule(life=timedelta(days=30), overlap=timedelta(minutes=10), token_life=timedelta(minutes=5))
KEK, OTHER_KEK = bytes(32), bytes(31) + b"1"
ANN = User("6f1c1f0e-0000-4000-8000-00000000000a", "ann", frozenset({Role.TRADER}), NOON, rights=3)


def a_key(kid: str, signs_after: timedelta) -> SealedKey:
    return SealedKey(kid, b"", NOON, NOON + signs_after)


def a_ring(*keys: SealedKey) -> Ed25519KeyRing:
    ring = Ed25519KeyRing(Sealer.with_keys(KEK), SCHEDULE)
    ring.take(keys)
    return ring


def new_key(create_time: datetime, sign_time: datetime) -> SealedKey:
    return Ed25519KeyRing(Sealer.with_keys(KEK), SCHEDULE).new(create_time, sign_time)


def kids(keys: Collection[SealedKey]) -> list[str]:
    return [key.kid for key in keys]


FIRST, SECOND = a_key("first", timedelta()), a_key("second", timedelta(days=30))


def test_the_very_first_key_signs_at_once() -> None:
    assert SCHEDULE.next_sign_time([], NOON) == NOON
    assert SCHEDULE.signer([FIRST], NOON) is FIRST


def test_while_the_clock_stands_before_every_key_the_first_signs() -> None:
    before = NOON - timedelta(minutes=1)

    assert SCHEDULE.signer([SECOND, FIRST], before) is FIRST
    assert SCHEDULE.next_sign_time([FIRST], before) is None


def test_a_successor_is_published_before_the_time_to_sign_comes() -> None:
    almost = NOON + timedelta(days=30) - SCHEDULE.overlap

    assert SCHEDULE.next_sign_time([FIRST], almost - timedelta(seconds=1)) is None
    assert SCHEDULE.next_sign_time([FIRST], almost) == NOON + timedelta(days=30)
    assert SCHEDULE.next_sign_time([FIRST, SECOND], almost) is None, "there is one"


def test_a_successor_that_comes_late_is_published_for_as_long_all_the_same() -> None:
    late = NOON + timedelta(days=100)

    assert SCHEDULE.next_sign_time([FIRST], late) == late + SCHEDULE.overlap


def test_a_key_signs_until_the_time_of_its_successor() -> None:
    change = SECOND.sign_time

    assert SCHEDULE.signer([SECOND, FIRST], change - timedelta(seconds=1)) is FIRST
    assert SCHEDULE.signer([SECOND, FIRST], change) is SECOND


def test_a_key_is_kept_while_a_token_of_it_can_be_good() -> None:
    last = SECOND.sign_time + SCHEDULE.token_life + SCHEDULE.overlap

    assert kids(SCHEDULE.over([FIRST, SECOND], last)) == []
    assert kids(SCHEDULE.over([FIRST, SECOND], last + timedelta(seconds=1))) == ["first"]
    assert kids(SCHEDULE.over([FIRST], NOON + timedelta(days=1000))) == [], "nothing follows it"


def test_tokens_are_signed_by_the_key_whose_time_it_is_and_all_keys_are_published() -> None:
    old, new = new_key(NOON, NOON), new_key(NOON, NOON + timedelta(minutes=10))
    ring = a_ring(old, new)
    tokens = JwtTokens(ring, issuer="here", audience="there", seconds=300)

    for moment, kid in ((NOON, old.kid), (NOON + timedelta(minutes=10), new.kid)):
        token = tokens.issue(Grant.of_login(ANN, "a session"), moment).text
        assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "kid": kid, "typ": "at+jwt"}
        published = ring.public_keys(moment)
        assert published[0].kid == kid
        assert {key.kid for key in published} == {old.kid, new.kid}


def test_a_token_says_what_it_was_granted() -> None:
    ring = a_ring(new_key(NOON, NOON))
    grant = Grant(ANN, "a key", RateTier.ELEVATED, frozenset({Scope.TRADE, Scope.READ}))

    token = JwtTokens(ring, issuer="here", audience="there", seconds=300).issue(grant, NOON)

    claims = jwt.decode(token.text, options={"verify_signature": False})
    assert claims.pop("jti")
    assert claims == {
        "iss": "here",
        "aud": "there",
        "sub": ANN.user_id,
        "username": "ann",
        "roles": ["ROLE_TRADER"],
        "rights": 3,
        "sid": "a key",
        "tier": "elevated",
        "scope": "read trade",
        "iat": int(NOON.timestamp()),
        "nbf": int(NOON.timestamp()),
        "exp": int(NOON.timestamp()) + 300,
    }


def test_a_token_ends_with_what_it_came_from() -> None:
    ring = a_ring(new_key(NOON, NOON))
    grant = Grant(ANN, "a key", RateTier.STANDARD, frozenset(), NOON + timedelta(seconds=90))

    token = JwtTokens(ring, issuer="here", audience="there", seconds=300).issue(grant, NOON)

    claims = jwt.decode(token.text, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == token.seconds == 90


def test_a_key_moves_to_another_key_encryption_key_and_stays_the_same() -> None:
    key = new_key(NOON, NOON)
    moving = Ed25519KeyRing(Sealer.with_keys(OTHER_KEK, KEK), SCHEDULE)

    sealed = moving.resealed(key)

    assert sealed is not None
    moved = SealedKey(key.kid, sealed, key.create_time, key.sign_time)
    assert moving.resealed(moved) is None, "it has moved"
    after = Ed25519KeyRing(Sealer.with_keys(OTHER_KEK), SCHEDULE)
    after.take([moved])
    assert after.public_keys(NOON) == a_ring(key).public_keys(NOON)
    with pytest.raises(KeyNotOpened, match="AUTH_PREVIOUS_KEY_ENCRYPTION_KEYS"):
        after.resealed(key)


def test_a_key_that_belongs_to_another_id_is_not_opened() -> None:
    key = new_key(NOON, NOON)
    with pytest.raises(KeyNotOpened):
        a_ring(SealedKey("another", key.sealed, NOON, NOON))
