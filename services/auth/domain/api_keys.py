"""API keys: secrets by which programs act for their owner, within what the owner may do."""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from services.auth.domain.tokens import Grant, Scope, scopes_of_roles
from services.auth.domain.users import RateTier, User
from services.auth.errors import GrantNotAllowed

LIFETIME = timedelta(days=365)
"""How long a key is good for when nothing else is asked for."""

_SECRET = re.compile(r"(lm_[a-z2-7]{8})_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True)
class ApiKey:
    """A key as its owner sees it: without its secret."""

    key_id: str
    """A UUID; the ``sid`` of its tokens."""
    user_id: str
    """Its owner, for whose account alone it is good."""
    name: str
    prefix: str
    """The beginning of its secret, ``lm_abcdefgh``."""
    scopes: frozenset[Scope]
    networks: tuple[str, ...]
    """From where it may be used; from everywhere when there is none."""
    given_tier: RateTier | None
    """None for that of its owner."""
    create_time: datetime
    expire_time: datetime
    last_use_time: datetime | None = None
    """To the minute."""
    revoke_time: datetime | None = None

    def is_active(self, now: datetime) -> bool:
        """Whether it has neither been revoked nor expired."""
        return self.revoke_time is None and now < self.expire_time

    def allows(self, address: str) -> bool:
        """Whether it may be used from ``address``; of an unknown one only when it may be used from everywhere."""
        if not self.networks:
            return True
        known = parsed(address)
        return known is not None and any(known in ip_network(network) for network in self.networks)

    def grant(self, owner: User, expire_time: datetime) -> Grant:
        """What its tokens say: the roles that ``owner`` has now, and never more calls than ``owner`` has."""
        low = RateTier.STANDARD in (self.given_tier, owner.rate_tier)
        tier = RateTier.STANDARD if low else RateTier.ELEVATED
        return Grant(owner, self.key_id, tier, self.scopes, expire_time)


@dataclass(frozen=True, repr=False)
class StoredKey:
    """A key with what its secrets are checked against, and its owner."""

    key: ApiKey
    secret_hash: bytes
    previous_hash: bytes | None
    """Of the secret before the last rotation."""
    previous_expire_time: datetime | None
    owner: User

    def opened_until(self, secret: str, now: datetime) -> datetime | None:
        """Until when ``secret`` is good for this key; None when it is not."""
        if not self.key.is_active(now):
            return None
        presented = hash_of(secret)
        if hmac.compare_digest(presented, self.secret_hash):
            return self.key.expire_time
        until = self.previous_expire_time
        if until is None or now >= until or not hmac.compare_digest(presented, self.previous_hash or b""):
            return None
        return min(until, self.key.expire_time)


def new_prefix(random_bytes: Callable[[int], bytes]) -> str:
    """The beginning of a new key's secrets."""
    return f"lm_{base64.b32encode(random_bytes(5)).decode().lower()}"


def new_secret(prefix: str, random_bytes: Callable[[int], bytes]) -> str:
    """A secret that begins with ``prefix`` and that nobody can guess."""
    return f"{prefix}_{base64.urlsafe_b64encode(random_bytes(32)).rstrip(b'=').decode()}"


def prefix_of(secret: str) -> str | None:
    """The prefix of ``secret``; None when it is none of ours."""
    match = _SECRET.fullmatch(secret)
    return None if match is None else match[1]


def hash_of(secret: str) -> bytes:
    """What is kept of a secret. It is random and long, so that a slow hash would protect nothing."""
    return hashlib.sha256(secret.encode()).digest()


def check_grant(owner: User, scopes: Iterable[Scope], tier: RateTier | None) -> None:
    """Raise GrantNotAllowed unless ``owner`` may give ``scopes`` and ``tier`` to a key."""
    if missing := sorted(set(scopes).difference(scopes_of_roles(owner.roles))):
        raise GrantNotAllowed(f"your roles do not allow a key with the scope {missing[0]}", scope=missing[0])
    if tier is RateTier.ELEVATED and owner.rate_tier is not RateTier.ELEVATED:
        raise GrantNotAllowed("your rate tier is STANDARD, so a key of yours cannot have ELEVATED")


def parsed(address: str) -> IPv4Address | IPv6Address | None:
    """``address``, one of IPv4 as such also where it comes dressed as IPv6; None when it is no address."""
    try:
        known = ip_address(address)
    except ValueError:
        return None
    return getattr(known, "ipv4_mapped", None) or known


def network(text: str) -> str:
    """An address or a network in its one spelling, without what stands behind the prefix. Raises ValueError."""
    if "%" in text:
        raise ValueError(f"{text} holds only on one machine's own links")
    return str(ip_network(text, strict=False))
