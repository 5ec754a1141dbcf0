"""What access tokens say, and what a session gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from services.auth.domain.users import RateTier, Role, User


class Scope(StrEnum):
    """What a token can be limited to; the values are the names that tokens and policies use."""

    READ = "read"
    TRADE = "trade"
    ADMIN = "admin"


def scopes_of_roles(roles: frozenset[Role]) -> Sequence[Scope]:
    """What a person with ``roles`` may do, and so may let a key do."""
    if Role.ADMIN in roles:
        return [Scope.READ, Scope.TRADE, Scope.ADMIN]
    if Role.TRADER in roles:
        return [Scope.READ, Scope.TRADE]
    return [Scope.READ]


@dataclass(frozen=True)
class Grant:
    """What an access token says: who, by what, and how far."""

    user: User
    session_id: str
    """The ``sid``: the id of a session or of an API key."""
    tier: RateTier
    scopes: frozenset[str] | None = None
    """None for a person who logged in without a client that asks for less: limited by nothing but the roles."""
    expire_time: datetime | None = None
    """When the session or the key ends: its tokens end then at the latest."""

    @classmethod
    def of_login(
        cls,
        user: User,
        session_id: str,
        expire_time: datetime | None = None,
        scopes: frozenset[str] | None = None,
    ) -> Self:
        """What ``user`` gets by logging in."""
        return cls(user, session_id, user.rate_tier, scopes, expire_time)


@dataclass(frozen=True)
class Identity:
    """What an ID token tells a client: who has logged in through it."""

    user: User
    client_id: str
    session_id: str
    auth_time: datetime
    nonce: str
    """As the client sent it; "" when it did not."""


@dataclass(frozen=True)
class AccessToken:
    """A signed token and how many seconds it is good for."""

    text: str
    seconds: int


@dataclass(frozen=True)
class SessionTokens:
    """What a session gives its holder: a token to call with, and one to get the next two."""

    session_id: str
    access_token: AccessToken
    refresh_token: str
    refresh_expire_time: datetime


@dataclass(frozen=True)
class PublicKey:
    """The public half of a signing key, an Ed25519 key."""

    kid: str
    x: str
    """The key, base64url, as RFC 8037 writes it."""
