"""API keys: their secrets, and for whom and how far they are good."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.auth.domain.api_keys import (
    ApiKey,
    StoredKey,
    check_grant,
    hash_of,
    network,
    new_prefix,
    new_secret,
    prefix_of,
)
from services.auth.domain.tokens import AccessToken, Grant, Scope
from services.auth.domain.users import RateTier, Role, User
from services.auth.errors import AddressNotAllowed, ApiKeyInvalid, GrantNotAllowed
from services.auth.use_cases.api_keys import AuthenticateApiKey, ExchangeApiKey

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PREFIX = new_prefix(os.urandom)
SECRET = new_secret(PREFIX, os.urandom)
OLD_SECRET = new_secret(PREFIX, os.urandom)


def a_user(*roles: Role, disabled: bool = False) -> User:
    return User(str(uuid4()), "someone", frozenset(roles or {Role.TRADER}), NOON, disabled=disabled)


def a_key(**changes: object) -> ApiKey:
    key = ApiKey(
        key_id=str(uuid4()),
        user_id=str(uuid4()),
        name="bot",
        prefix=PREFIX,
        scopes=frozenset({Scope.READ}),
        networks=(),
        given_tier=None,
        create_time=NOON,
        expire_time=NOON + timedelta(days=1),
    )
    return replace(key, **changes)  # type: ignore[arg-type] # whatever a test wants to be different


def stored(key: ApiKey, owner: User | None = None, overlap: timedelta | None = None) -> StoredKey:
    previous = None if overlap is None else hash_of(OLD_SECRET)
    until = None if overlap is None else NOON + overlap
    return StoredKey(key, hash_of(SECRET), previous, until, owner or a_user())


class Keys:
    """One key, as others see it."""

    def __init__(self, key: StoredKey) -> None:
        self.key = key

    async def find(self, prefix: str) -> StoredKey | None:
        return self.key if prefix == self.key.key.prefix else None


class Uses:
    """Remembers which keys were used when."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, datetime]] = []

    def note(self, key_id: str, now: datetime) -> None:
        self.noted.append((key_id, now))


class Alarms:
    """Remembers what was told of whom."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    async def elsewhere(self, key: ApiKey, address: str, now: datetime) -> None:
        self.told.append((key.key_id, address))


class NumberedTokens:
    """Tokens that tell one from another."""

    def __init__(self) -> None:
        self.count = 0

    def issue(self, grant: Grant, now: datetime) -> AccessToken:
        self.count += 1
        return AccessToken(f"token {self.count}", 300)


def test_a_secret_has_a_prefix_by_which_it_is_found() -> None:
    assert prefix_of(SECRET) == PREFIX
    assert len(SECRET) == 3 + 8 + 1 + 43


@pytest.mark.parametrize(
    "secret", ["", "lm_", SECRET[:-1], SECRET + "A", SECRET + "\n", SECRET.upper(), f"lm_{'ä' * 8}_{'A' * 43}"]
)
def test_what_is_no_secret_of_ours_has_no_prefix(secret: str) -> None:
    assert prefix_of(secret) is None


def test_two_secrets_of_a_prefix_differ() -> None:
    assert SECRET != OLD_SECRET
    assert hash_of(SECRET) != hash_of(OLD_SECRET)


@pytest.mark.parametrize(
    ("networks", "address", "allowed"),
    [
        ((), "192.0.2.7", True),
        ((), "", True),
        (("192.0.2.7/32",), "192.0.2.7", True),
        (("192.0.2.7/32",), "192.0.2.8", False),
        (("192.0.2.0/24",), "::ffff:192.0.2.8", True),
        (("192.0.2.0/24", "2001:db8::/32"), "2001:db8:1::1", True),
        (("2001:db8::/32",), "192.0.2.7", False),
        (("192.0.2.0/24",), "", False),
        (("0.0.0.0/0",), "not an address", False),
    ],
)
def test_a_key_works_from_its_networks_only(networks: tuple[str, ...], address: str, allowed: bool) -> None:
    assert a_key(networks=networks).allows(address) is allowed


def test_networks_have_one_spelling() -> None:
    assert network("192.0.2.7") == "192.0.2.7/32"
    assert network("192.0.2.7/24") == "192.0.2.0/24"
    assert network("2001:DB8::1/32") == "2001:db8::/32"


@pytest.mark.parametrize(
    ("role", "scope", "allowed"),
    [
        (Role.VIEWER, Scope.READ, True),
        (Role.VIEWER, Scope.TRADE, False),
        (Role.TRADER, Scope.TRADE, True),
        (Role.TRADER, Scope.ADMIN, False),
        (Role.ADMIN, Scope.ADMIN, True),
        (Role.ADMIN, Scope.TRADE, True),
    ],
)
def test_a_key_gets_no_scope_that_its_owner_has_no_role_for(role: Role, scope: Scope, allowed: bool) -> None:
    if allowed:
        check_grant(a_user(role), {scope}, None)
    else:
        with pytest.raises(GrantNotAllowed):
            check_grant(a_user(role), {Scope.READ, scope}, None)


def test_a_key_gets_no_higher_tier_than_its_owner() -> None:
    check_grant(a_user(Role.TRADER), {Scope.READ}, RateTier.STANDARD)
    check_grant(a_user(Role.ADMIN), {Scope.READ}, RateTier.ELEVATED)
    with pytest.raises(GrantNotAllowed):
        check_grant(a_user(Role.TRADER), {Scope.READ}, RateTier.ELEVATED)


@pytest.mark.parametrize(
    ("role", "given", "tier"),
    [
        (Role.TRADER, None, RateTier.STANDARD),
        (Role.TRADER, RateTier.ELEVATED, RateTier.STANDARD),
        (Role.ADMIN, None, RateTier.ELEVATED),
        (Role.ADMIN, RateTier.STANDARD, RateTier.STANDARD),
    ],
)
def test_a_token_has_the_lower_tier_of_key_and_owner(role: Role, given: RateTier | None, tier: RateTier) -> None:
    assert a_key(given_tier=given).grant(a_user(role), NOON).tier is tier


async def test_a_secret_gives_the_roles_that_the_owner_has_now_within_the_scopes_of_the_key() -> None:
    key, owner, uses = a_key(scopes=frozenset({Scope.TRADE})), a_user(Role.TRADER, Role.VIEWER), Uses()

    grant = await AuthenticateApiKey(Keys(stored(key, owner)), uses, Alarms(), lambda: NOON)(SECRET, "192.0.2.7")

    assert grant == Grant(owner, key.key_id, RateTier.STANDARD, frozenset({Scope.TRADE}), key.expire_time)
    assert uses.noted == [(key.key_id, NOON)]


@pytest.mark.parametrize(
    ("secret", "changes", "disabled"),
    [
        (SECRET[:-1] + ("A" if SECRET[-1] != "A" else "B"), {}, False),
        (OLD_SECRET, {}, False),
        ("lm_aaaaaaaa_" + "A" * 43, {}, False),
        ("nonsense", {}, False),
        (SECRET, {"expire_time": NOON}, False),
        (SECRET, {"revoke_time": NOON - timedelta(days=1)}, False),
        (SECRET, {}, True),
    ],
    ids=["another", "never given", "unknown prefix", "nonsense", "expired", "revoked", "owner disabled"],
)
async def test_what_is_no_good_gives_nothing(secret: str, changes: dict[str, object], disabled: bool) -> None:
    uses = Uses()
    authenticate = AuthenticateApiKey(
        Keys(stored(a_key(**changes), a_user(disabled=disabled))), uses, Alarms(), lambda: NOON
    )

    with pytest.raises(ApiKeyInvalid):
        await authenticate(secret, "192.0.2.7")
    assert uses.noted == []


async def test_a_good_secret_from_elsewhere_is_told_so_and_others_are_warned() -> None:
    key, uses, alarms = a_key(networks=("192.0.2.0/24",)), Uses(), Alarms()
    authenticate = AuthenticateApiKey(Keys(stored(key)), uses, alarms, lambda: NOON)

    with pytest.raises(AddressNotAllowed):
        await authenticate(SECRET, "198.51.100.1")
    assert alarms.told == [(key.key_id, "198.51.100.1")]
    assert uses.noted == []


async def test_the_secret_before_a_rotation_works_until_the_overlap_ends_and_its_tokens_no_longer() -> None:
    now = NOON
    keys = Keys(stored(a_key(), overlap=timedelta(hours=1)))
    authenticate = AuthenticateApiKey(keys, Uses(), Alarms(), lambda: now)

    assert (await authenticate(OLD_SECRET, "")).expire_time == NOON + timedelta(hours=1)
    assert (await authenticate(SECRET, "")).expire_time == NOON + timedelta(days=1)

    now = NOON + timedelta(hours=1)
    with pytest.raises(ApiKeyInvalid):
        await authenticate(OLD_SECRET, "")
    await authenticate(SECRET, "")


async def test_a_token_is_used_again_until_a_minute_before_it_ends() -> None:
    now = NOON
    exchange = ExchangeApiKey(
        AuthenticateApiKey(Keys(stored(a_key())), Uses(), Alarms(), lambda: now), NumberedTokens(), lambda: now
    )

    assert (await exchange(SECRET, ""))[1].text == "token 1"
    now = NOON + timedelta(seconds=239)
    assert (await exchange(SECRET, ""))[1].text == "token 1"
    now = NOON + timedelta(seconds=240)
    assert (await exchange(SECRET, ""))[1].text == "token 2"


async def test_a_token_is_not_used_again_once_the_owner_has_other_roles() -> None:
    keys = Keys(stored(a_key()))
    exchange = ExchangeApiKey(AuthenticateApiKey(keys, Uses(), Alarms(), lambda: NOON), NumberedTokens(), lambda: NOON)
    await exchange(SECRET, "")

    keys.key = replace(keys.key, owner=replace(keys.key.owner, roles=frozenset({Role.VIEWER}), rights=2))

    grant, token = await exchange(SECRET, "")
    assert grant.user.roles == {Role.VIEWER}
    assert token.text == "token 2"


async def test_a_key_that_was_revoked_gets_no_token_although_one_is_at_hand() -> None:
    keys = Keys(stored(a_key()))
    exchange = ExchangeApiKey(AuthenticateApiKey(keys, Uses(), Alarms(), lambda: NOON), NumberedTokens(), lambda: NOON)
    await exchange(SECRET, "")

    keys.key = replace(keys.key, key=replace(keys.key.key, revoke_time=NOON))

    with pytest.raises(ApiKeyInvalid):
        await exchange(SECRET, "")


def test_nothing_shows_what_secrets_are_checked_against() -> None:
    assert hash_of(SECRET).hex() not in repr(stored(a_key()))
    assert str(hash_of(SECRET)) not in repr(stored(a_key()))
