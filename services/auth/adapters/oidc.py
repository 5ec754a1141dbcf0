"""Tokens of other issuers, checked against the keys that these publish (OpenID Connect, JSON Web Key Sets)."""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from services.auth.domain.external import ExternalPerson, Issuer
from services.auth.errors import ExternalTokenInvalid, IssuerUnavailable

_log = logging.getLogger(__name__)

ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})
"""By which a token may be signed. What its header says only chooses among the keys that are published."""

_LONGEST_TOKEN = 8 * 1024
_LARGEST_KEY_SET = 256 * 1024
_SMALLEST_RSA_KEY = 2048
_KEPT_SECONDS = 300.0
_REFETCH_SECONDS = 30.0
_LEEWAY_SECONDS = 5
_TIMEOUT = aiohttp.ClientTimeout(total=3)
_NOT_ACCESS_TOKENS = ("ID", "Refresh", "Offline", "Logout", "DPoP")
"""What Keycloak says in the claim ``typ`` of its other tokens."""


class KeySet:
    """The keys of one issuer: fetched when needed, again when old or for an unknown one, and at most every 30 s."""

    def __init__(
        self, http: aiohttp.ClientSession, uri: str, ca_file: Path | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._http = http
        self._uri = uri
        self._tls: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca_file) if ca_file else True
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> jwt.PyJWK | None:
        """The key with this id, or None. Raises IssuerUnavailable when no keys are known at all."""
        if self._is_needed(kid):
            if self._fetching is None or self._fetching.done():
                self._fetching = asyncio.create_task(self._fetch())
            if kid not in self._keys:
                # Others wait for it too, when this caller gives up.
                await asyncio.shield(self._fetching)
        if not self._keys:
            raise IssuerUnavailable("the keys of the token's issuer cannot be fetched; try again in a while")
        return self._keys.get(kid)

    def _is_needed(self, kid: str) -> bool:
        now = self._clock()
        if now - self._tried < _REFETCH_SECONDS:
            return False
        return kid not in self._keys or now - self._fetched > _KEPT_SECONDS

    async def _fetch(self) -> None:
        """Replace the keys; when that fails, those at hand stay good."""
        try:
            self._keys = _usable(json.loads(await self._content()))
            self._fetched = self._clock()
        except (aiohttp.ClientError, TimeoutError, ValueError, TypeError, RecursionError, jwt.PyJWTError) as error:
            _log.warning("cannot fetch the keys of an issuer", extra={"uri": self._uri, "problem": str(error)})
        self._tried = self._clock()

    async def _content(self) -> bytes:
        async with self._http.get(self._uri, ssl=self._tls, allow_redirects=False, timeout=_TIMEOUT) as response:
            if response.status != 200:
                raise ValueError(f"the answer has the status {response.status}")
            content = b""
            async for chunk in response.content.iter_chunked(16 * 1024):
                content += chunk
                if len(content) > _LARGEST_KEY_SET:
                    raise ValueError("the key set is larger than any should be")
            return content


class OidcTokens:
    """Checks tokens of the issuers in the settings."""

    def __init__(self, issuers: Sequence[tuple[Issuer, KeySet]]) -> None:
        self._issuers = {issuer.issuer: (issuer, keys) for issuer, keys in issuers}

    async def person(self, token: str) -> ExternalPerson:
        if len(token) > _LONGEST_TOKEN:
            raise ExternalTokenInvalid
        try:
            header = jwt.get_unverified_header(token)
            issuer, keys = self._issuers[jwt.decode(token, options={"verify_signature": False})["iss"]]
            if "crit" in header or header.get("alg") not in ALGORITHMS:
                raise ExternalTokenInvalid
            key = await keys.key(str(header.get("kid", "")))
            if key is None:
                raise ExternalTokenInvalid
            return issuer.person(_claims(token, issuer, key), token)
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise ExternalTokenInvalid from error


@asynccontextmanager
async def open_oidc(issuers: Sequence[tuple[Issuer, str, Path | None]]) -> AsyncIterator[OidcTokens]:
    """Checks tokens of ``issuers``, each with where its keys are, and who signs the certificate there."""
    async with aiohttp.ClientSession() as http:
        yield OidcTokens([(issuer, KeySet(http, uri, ca_file)) for issuer, uri, ca_file in issuers])


def _claims(token: str, issuer: Issuer, key: jwt.PyJWK) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[key.algorithm_name],
        audience=issuer.audience,
        issuer=issuer.issuer,
        leeway=_LEEWAY_SECONDS,
        options={"require": ["exp", "iat", "sub", "iss", "aud"]},
    )
    # One that is bound to a key of its holder ("cnf") is worth nothing without that proof, which nobody asks for here.
    if claims.get("typ") in _NOT_ACCESS_TOKENS or "cnf" in claims:
        raise ExternalTokenInvalid
    return claims


def _usable(key_set: dict[str, Any]) -> dict[str, jwt.PyJWK]:
    """The keys that may have signed a token, by id."""
    found = {}
    for key in jwt.PyJWKSet.from_dict(key_set).keys:
        weak = isinstance(key.key, RSAPublicKey) and key.key.key_size < _SMALLEST_RSA_KEY
        if key.key_id and key.algorithm_name in ALGORITHMS and key.public_key_use in (None, "sig") and not weak:
            found[key.key_id] = key
    return found
