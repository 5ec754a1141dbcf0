"""Access tokens (RFC 9068): which are believed, and what they say."""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import jwt

from services.runtime.errors import Unauthenticated, Unavailable

ALGORITHM = "EdDSA"
LARGEST_TOKEN = 8 * 1024
"""Longer ones are refused before anything in them is looked at."""
_CURVE = "Ed25519"
_TYPE = "at+jwt"
_HEADER = frozenset({"alg", "kid", "typ"})
"""Nothing else may stand in the header of a token: neither a key (``jwk``, ``x5c``) or where to find one (``jku``,
``x5u``), nor anything that has to be understood (``crit``)."""
_SKEW = 5.0
"""Seconds that clocks may differ."""
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_signatures = jwt.PyJWS([ALGORITHM])


class TokenInvalid(Unauthenticated):
    """The access token is not one of ours, or was altered."""

    reason = "TOKEN_INVALID"


class TokenExpired(Unauthenticated):
    """The access token was good once."""

    reason = "TOKEN_EXPIRED"


class SessionEnded(Unauthenticated):
    """The session or the API key that the access token came from has ended, or the user's rights have changed."""

    reason = "SESSION_ENDED"


class KeysUnavailable(Unavailable):
    """What access tokens are checked with has not been fetched yet, or not for too long."""

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
class _Believed:
    """A token whose signature and claims were found good."""

    user: User
    expires: float
    rights: str
    """How the user's rights are named in the list of what is revoked."""


class TokenVerifier:
    """Checks access tokens against the published keys, and remembers the good ones until they expire.

    ``trust_revocations_for`` is how many seconds a list of revocations is relied upon: without a newer one nobody is
    let in. None where nobody keeps the list.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        now: Callable[[], float] = time.time,
        remember: int = 10_000,
        trust_revocations_for: float | None = None,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._now = now
        self._remember = remember
        self._trust_revocations_for = trust_revocations_for
        self._published: dict[str, Mapping[str, str]] = {}
        self._keys: dict[str, jwt.PyJWK] = {}
        self._known: dict[str, _Believed] = {}
        self._revoked: frozenset[str] = frozenset()
        self._revocations_known_at: float | None = None

    def set_keys(self, keys: Iterable[Mapping[str, str]]) -> None:
        """Take ``keys`` (JSON Web Keys, RFC 7517) as the only good ones. Tokens of a key that is gone stop working."""
        published = {key["kid"]: key for key in keys if key.get("kty") == "OKP" and key.get("crv") == _CURVE}
        if any(published.get(kid) != key for kid, key in self._published.items()):
            self._known.clear()
        self._keys = {kid: jwt.PyJWK({k: v for k, v in key.items() if v}, ALGORITHM) for kid, key in published.items()}
        self._published = published

    def set_revoked(self, revoked: Iterable[str]) -> None:
        """Take ``revoked`` (sessions, API keys, superseded rights) as all whose tokens are refused from now on."""
        self._revoked = frozenset(revoked)
        self._revocations_known_at = self._now()

    def verify(self, token: str) -> User:
        """The user that ``token`` names. Raises TokenInvalid, TokenExpired, SessionEnded or KeysUnavailable."""
        if len(token) > LARGEST_TOKEN:
            raise TokenInvalid("the access token is longer than any of this mesh; log in again")
        now = self._now()
        believed = self._known.get(token) or self._learn(token, now)
        if believed.expires <= now:
            self._known.pop(token, None)
            raise TokenExpired("the access token has expired; log in again")
        self._check_revocations_known(now)
        if self._revoked and (believed.user.session_id in self._revoked or believed.rights in self._revoked):
            raise SessionEnded("the session has ended, or the user's rights have changed; log in, or refresh, again")
        return believed.user

    def check_supplies(self) -> None:
        """Raise KeysUnavailable while no token can be verified for want of keys, or of the list of revocations."""
        self._check_keys_known()
        self._check_revocations_known(self._now())

    def _check_keys_known(self) -> None:
        if not self._keys:
            raise KeysUnavailable("the keys of the auth service are not known yet; try again in a second")

    def _check_revocations_known(self, now: float) -> None:
        if self._trust_revocations_for is None:
            return
        known_at = self._revocations_known_at
        if known_at is None or known_at + self._trust_revocations_for < now:
            raise KeysUnavailable("it is not known which sessions have ended; try again in a second")

    def _learn(self, token: str, now: float) -> _Believed:
        self._check_keys_known()
        try:
            believed = self._believed(self._claims(token), now)
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise TokenInvalid("the access token is not valid; log in again") from error
        if len(self._known) >= self._remember:
            self._forget(now)
        self._known[token] = believed
        return believed

    def _claims(self, token: str) -> Mapping[str, Any]:
        """What ``token`` says, once its signature is found to be that of a published key."""
        if not _FORM.fullmatch(token):
            raise ValueError("not three parts in base64url")
        header = _read_json(jwt.utils.base64url_decode(token.partition(".")[0]))
        if header.keys() != _HEADER or header["typ"] != _TYPE or header["alg"] != ALGORITHM:
            raise ValueError("not the header of an access token")
        return _read_json(_signatures.decode(token, self._keys[header["kid"]], [ALGORITHM]))

    def _believed(self, claims: Mapping[str, Any], now: float) -> _Believed:
        if claims["iss"] != self._issuer or claims["aud"] != self._audience:
            raise ValueError("issued by, or for, somebody else")
        if max(_time(claims, "iat"), _time(claims, "nbf")) > now + _SKEW:
            raise ValueError("not valid yet")
        rights = claims["rights"]
        if type(rights) is not int:
            raise TypeError("rights is not a number")
        user = _user(claims)
        return _Believed(user, _time(claims, "exp"), f"{user.user_id}/{rights}")

    def _forget(self, now: float) -> None:
        self._known = {token: known for token, known in self._known.items() if known.expires > now}
        if len(self._known) >= self._remember:
            self._known.clear()


def _user(claims: Mapping[str, Any]) -> User:
    roles = claims["roles"]
    if not isinstance(roles, list):
        raise TypeError("roles is not a list")
    return User(
        user_id=_text(claims, "sub"),
        username=_text(claims, "username"),
        roles=frozenset(roles),
        scopes=frozenset(_text(claims, "scope").split()) if "scope" in claims else None,
        session_id=_text(claims, "sid"),
        tier=_text(claims, "tier"),
    )


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims[name]
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name} is not a text")
    return value


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is not a time")
    return float(value)


def _read_json(text: bytes) -> dict[str, Any]:
    """The object that ``text`` holds. Raises ValueError also where readers of JSON do not agree what it says."""
    found = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_number)
    if not isinstance(found, dict):
        raise TypeError("not an object")
    return found


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
