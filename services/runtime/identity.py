"""Who calls: the workload by its certificate, the user by the access token."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import jwt

from services.runtime.errors import PermissionDenied, Unauthenticated, Unavailable
from services.runtime.policy import Policy

_log = logging.getLogger(__name__)

TRUST_DOMAIN = "spiffe://levimesh/"
ALGORITHM = "EdDSA"


class TokenMissing(Unauthenticated):
    """The call needs a user and carries no access token."""

    reason = "TOKEN_MISSING"


class TokenInvalid(Unauthenticated):
    """The access token is not one of ours, or was altered."""

    reason = "TOKEN_INVALID"


class TokenExpired(Unauthenticated):
    """The access token was good once."""

    reason = "TOKEN_EXPIRED"


class SessionEnded(Unauthenticated):
    """The session or the API key that the access token came from has ended, or the user's rights have changed."""

    reason = "SESSION_ENDED"


class RoleNotAllowed(PermissionDenied):
    """The user is known and has none of the roles."""

    reason = "ROLE_NOT_ALLOWED"


class ScopeMissing(PermissionDenied):
    """The token is limited to scopes of which none is enough."""

    reason = "SCOPE_MISSING"


class CallerNotAllowed(PermissionDenied):
    """The workload is not one that may call."""

    reason = "CALLER_NOT_ALLOWED"


class KeysUnavailable(Unavailable):
    """The keys to check tokens with have not been fetched yet."""

    reason = "DEPENDENCY_UNAVAILABLE"
    retry_after = 1.0


@dataclass(frozen=True)
class User:
    """A person, as the access token names them."""

    user_id: str
    username: str
    roles: frozenset[str]
    """Names of levimesh.policy.v1.Role, for example ``ROLE_ADMIN``."""
    scopes: frozenset[str] | None = None
    """What an API key's token is limited to; None for the token of a login."""
    session_id: str = ""
    """The session, or the API key, that the token came from."""
    tier: str = "standard"
    """How much the user may call: ``standard`` or ``elevated``."""


@dataclass(frozen=True)
class Caller:
    """Who calls: always a workload, and a user when it passes on a user's call."""

    workload: str
    user: User | None
    address: str = ""
    """Where the call came into the mesh from, as the gateway saw it; "" for a call from inside."""
    user_agent: str = ""
    """What the client calls itself; "" for a call from inside."""


_caller: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Who made the call that is being served. Only inside a call."""
    return _caller.get()


def current_user() -> User:
    """The user whose call is being served. Only in methods whose policy asks for a role."""
    user = _caller.get().user
    if user is None:
        raise TokenMissing("this method acts for a user; send `authorization: Bearer <access token>`")
    return user


def set_caller(caller: Caller) -> None:
    """Make ``caller`` the one of this call; for the server's identity stage."""
    _caller.set(caller)


class TokenVerifier:
    """Checks access tokens against the published keys, and remembers the good ones until they expire."""

    def __init__(
        self, issuer: str, audience: str, *, now: Callable[[], float] = time.time, remember: int = 10_000
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._now = now
        self._remember = remember
        self._keys: dict[str, jwt.PyJWK] = {}
        self._known: dict[str, tuple[float, User]] = {}

    def set_keys(self, keys: list[dict[str, str]]) -> None:
        """Take ``keys`` (JSON Web Keys, RFC 7517) as the only good ones. Tokens of a key that is gone stop working."""
        usable = {key["kid"]: jwt.PyJWK({k: v for k, v in key.items() if v}, ALGORITHM) for key in keys}
        if usable.keys() != self._keys.keys():
            self._known.clear()
        self._keys = usable

    def verify(self, token: str) -> User:
        """The user that ``token`` names. Raises TokenInvalid, TokenExpired or KeysUnavailable."""
        if (known := self._known.get(token)) is not None:
            if known[0] > self._now():
                return known[1]
            del self._known[token]
        expires, user = self._decode(token)
        if len(self._known) >= self._remember:
            self._forget()
        self._known[token] = (expires, user)
        return user

    def _decode(self, token: str) -> tuple[float, User]:
        if not self._keys:
            raise KeysUnavailable("the keys of the auth service are not known yet; try again in a second")
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.get(header.get("kid", ""))
            if key is None or header.get("typ") != "at+jwt":
                raise TokenInvalid("the access token is not one of this mesh; log in again")
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                options={
                    "require": ["exp", "iat", "nbf", "sub", "iss", "aud"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
            return self._check_times(claims), _user(claims)
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError) as error:
            raise TokenInvalid("the access token is not valid; log in again") from error

    def _check_times(self, claims: Mapping[str, Any]) -> float:
        now, expires = self._now(), float(claims["exp"])
        if expires <= now:
            raise TokenExpired("the access token has expired; log in again")
        if float(claims["nbf"]) > now + 5:
            raise TokenInvalid("the access token is not valid yet; check the clocks")
        return expires

    def _forget(self) -> None:
        now = self._now()
        self._known = {token: known for token, known in self._known.items() if known[0] > now}
        if len(self._known) >= self._remember:
            self._known.clear()


def _user(claims: Mapping[str, Any]) -> User:
    scope = claims.get("scope")
    return User(
        user_id=str(claims["sub"]),
        username=str(claims["username"]),
        roles=frozenset(claims["roles"]),
        scopes=None if scope is None else frozenset(str(scope).split()),
    )


async def refresh_keys(
    verifier: TokenVerifier,
    fetch: Callable[[], Awaitable[list[dict[str, str]]]],
    *,
    every: float = 30.0,
    retry: float = 0.5,
) -> None:
    """Keep ``verifier`` supplied with the published keys, for ever."""
    while True:
        try:
            verifier.set_keys(await fetch())
        except Exception as error:  # noqa: BLE001 - whatever it is, the keys at hand stay good and the next try may succeed
            _log.warning("cannot fetch the signing keys", extra={"error": str(error)})
            await asyncio.sleep(retry)
        else:
            await asyncio.sleep(every)


def workload_of(names: Iterable[bytes]) -> str:
    """The workload that a certificate's subject alternative names tell, or "" when none is of this mesh."""
    for name in names:
        text = name.decode("ascii", "replace")
        if text.startswith(TRUST_DOMAIN):
            return text.removeprefix(TRUST_DOMAIN)
    return ""


def authorize(policy: Policy, workload: str, token: str | None, verifier: TokenVerifier) -> Caller:
    """Decide by ``policy`` whether ``workload``, with or without a user's ``token``, may call.

    Raises CallerNotAllowed, TokenMissing, TokenInvalid, TokenExpired, RoleNotAllowed or ScopeMissing.
    """
    if token is None and workload in policy.service_callers:
        return Caller(workload, None)
    if workload not in policy.callers:
        raise CallerNotAllowed(
            f"workload {workload or 'without a certificate of this mesh'} may not call {policy.method}"
        )
    if policy.public:
        return Caller(workload, None)
    if token is None:
        raise TokenMissing("log in and send `authorization: Bearer <access token>`")
    user = verifier.verify(token)
    if not user.roles & policy.roles:
        allowed = ", ".join(sorted(policy.roles))
        raise RoleNotAllowed(f"this needs one of the roles {allowed}", allowed_roles=allowed)
    if user.scopes is not None and not user.scopes & policy.scopes:
        required = ", ".join(sorted(policy.scopes))
        raise ScopeMissing(f"this needs one of the scopes {required}", required_scopes=required)
    return Caller(workload, user)
