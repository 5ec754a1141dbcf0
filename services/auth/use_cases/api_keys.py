"""What is done with API keys, one callable each."""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from services.auth.domain.api_keys import (
    LIFETIME,
    ApiKey,
    check_grant,
    hash_of,
    network,
    new_prefix,
    new_secret,
    prefix_of,
)
from services.auth.domain.tokens import AccessToken, Grant, Scope
from services.auth.domain.users import RateTier
from services.auth.errors import AddressNotAllowed, ApiKeyInvalid, ApiKeyNotFound, TooManyApiKeys, UserNotFound
from services.auth.ports.api_keys import ApiKeys, KeyAlarms, KeyUses, OpenKeys
from services.auth.ports.sessions import Tokens
from services.auth.ports.users import Users
from services.auth.use_cases.reissuing import ReissuedTokens
from services.runtime.clock import Clock
from services.runtime.errors import FieldViolations

RandomBytes = Callable[[int], bytes]
Place = tuple[datetime, str]
"""Where a page of keys begins: after the key that was made then and has this id."""


class CreateApiKey:
    """Make a key for its owner; nobody sees its secret again."""

    def __init__(
        self,
        keys: ApiKeys,
        users: Users,
        now: Clock,
        new_id: Callable[[], UUID],
        most: int,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._keys = keys
        self._users = users
        self._most = most
        self._now = now
        self._new_id = new_id
        self._random_bytes = random_bytes

    async def __call__(
        self,
        owner_id: str,
        name: str,
        scopes: frozenset[Scope],
        networks: Sequence[str],
        tier: RateTier | None,
        lifetime: timedelta | None,
    ) -> tuple[ApiKey, str]:
        """The key and its secret. Raises GrantNotAllowed and TooManyApiKeys."""
        owner = await self._users.by_id(owner_id)
        if owner is None:
            raise UserNotFound(owner_id)
        check_grant(owner, scopes, tier)
        now = self._now()
        key = ApiKey(
            key_id=str(self._new_id()),
            user_id=owner.user_id,
            name=name,
            prefix=new_prefix(self._random_bytes),
            scopes=scopes,
            networks=_networks(networks),
            given_tier=tier,
            create_time=now,
            expire_time=now + (lifetime or LIFETIME),
        )
        secret = new_secret(key.prefix, self._random_bytes)
        if not await self._keys.add(key, hash_of(secret), self._most):
            raise TooManyApiKeys(self._most)
        return key, secret


class ListApiKeys:
    """A page of a user's keys, the newest first, those that have ended too."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys

    async def __call__(self, owner_id: str, after: Place | None, size: int) -> tuple[Sequence[ApiKey], Place | None]:
        """At most ``size`` keys after ``after``, and where to go on (None when these are the last)."""
        keys = await self._keys.of_user(owner_id, after, size + 1)
        last = keys[size - 1] if len(keys) > size else None
        return keys[:size], None if last is None else (last.create_time, last.key_id)


class RotateApiKey:
    """Give a key another secret; the one so far is good for a while."""

    def __init__(self, keys: ApiKeys, now: Clock, random_bytes: RandomBytes = secrets.token_bytes) -> None:
        self._keys = keys
        self._now = now
        self._random_bytes = random_bytes

    async def __call__(self, owner_id: str, key_id: str, overlap: timedelta) -> tuple[ApiKey, str]:
        """The key and its new secret. Raises ApiKeyNotFound, for a key that has ended too."""
        now = self._now()
        prefix = await self._keys.prefix(key_id, owner_id, now)
        if prefix is None:
            raise ApiKeyNotFound(key_id)
        secret = new_secret(prefix, self._random_bytes)
        key = await self._keys.rotate(key_id, owner_id, hash_of(secret), now + overlap, now)
        if key is None:
            raise ApiKeyNotFound(key_id)
        return key, secret


class RevokeApiKey:
    """End a key and its tokens."""

    def __init__(self, keys: ApiKeys, now: Clock) -> None:
        self._keys = keys
        self._now = now

    async def __call__(self, key_id: str, owner_id: str | None) -> None:
        """End a key of ``owner_id``, or of anybody without one. Raises ApiKeyNotFound."""
        if not await self._keys.revoke(key_id, owner_id, self._now()):
            raise ApiKeyNotFound(key_id)


class ForgetApiKeys:
    """Remove keys that ended so long ago that nobody looks for them any more."""

    def __init__(self, keys: ApiKeys, kept: timedelta, now: Clock) -> None:
        self._keys = keys
        self._kept = kept
        self._now = now

    async def __call__(self) -> None:
        await self._keys.forget(self._now() - self._kept)


class AuthenticateApiKey:
    """Find out for whom, and how far, a secret is good."""

    def __init__(self, keys: OpenKeys, uses: KeyUses, alarms: KeyAlarms, now: Clock) -> None:
        self._keys = keys
        self._uses = uses
        self._alarms = alarms
        self._now = now

    async def __call__(self, secret: str, address: str) -> Grant:
        """What a token for it may say. Raises ApiKeyInvalid, and AddressNotAllowed for a good key used elsewhere."""
        prefix = prefix_of(secret)
        stored = None if prefix is None else await self._keys.find(prefix)
        now = self._now()
        until = None if stored is None else stored.opened_until(secret, now)
        if stored is None or until is None or stored.owner.disabled:
            raise ApiKeyInvalid
        if not stored.key.allows(address):
            await self._alarms.elsewhere(stored.key, address, now)
            raise AddressNotAllowed(address)
        self._uses.note(stored.key.key_id, now)
        return stored.key.grant(stored.owner, until)


class ExchangeApiKey:
    """Give a token for a secret: while nothing has changed, the same for many calls."""

    def __init__(self, authenticate: AuthenticateApiKey, tokens: Tokens, now: Clock) -> None:
        self._authenticate = authenticate
        self._tokens = ReissuedTokens(tokens)
        self._now = now

    async def __call__(self, secret: str, address: str) -> tuple[Grant, AccessToken]:
        """What the token says, and the token. Raises as AuthenticateApiKey does."""
        grant = await self._authenticate(secret, address)
        return grant, self._tokens.issue(grant, self._now())


def _networks(asked: Sequence[str]) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(map(network, asked)))
    except ValueError as error:
        raise FieldViolations({"allowed_networks": f"{error}; give an address or a network"}) from error
