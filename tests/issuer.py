"""Another issuer of tokens, such as Keycloak is: it signs, and publishes its keys over HTTP."""

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

AUDIENCE = "levimesh"


def an_rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@dataclass
class IssuerKey:
    """A key that signs."""

    private_key: Any
    algorithm: str
    kid: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def of(cls, algorithm: str) -> "IssuerKey":
        if algorithm == "RS256":
            return cls(an_rsa_key(), algorithm)
        if algorithm == "ES256":
            return cls(ec.generate_private_key(ec.SECP256R1()), algorithm)
        return cls(ed25519.Ed25519PrivateKey.generate(), algorithm)

    def public_jwk(self) -> dict[str, Any]:
        public = get_default_algorithms()[self.algorithm].to_jwk(self.private_key.public_key(), as_dict=True)
        return {**public, "kid": self.kid, "alg": self.algorithm, "use": "sig"}


@dataclass
class Issuer:
    """A running issuer."""

    server: TestServer
    published: list[dict[str, Any]] = field(default_factory=list)
    fetches: int = 0
    works: bool = True

    @property
    def url(self) -> str:
        return str(self.server.make_url("/realms/mesh")).rstrip("/")

    @property
    def jwks_uri(self) -> str:
        return f"{self.url}/certs"

    def publish(self, *keys: IssuerKey) -> None:
        self.published = [key.public_jwk() for key in keys]

    def claims(self, *roles: str, **changes: Any) -> dict[str, Any]:
        """What a token says; a claim that is changed to None is left out."""
        now = int(time.time())
        said = {
            "iss": self.url,
            "aud": ["account", AUDIENCE],
            "sub": "f:1:ann",
            "sid": "login-1",
            "typ": "Bearer",
            "preferred_username": "Ann@Example.com",
            "realm_access": {"roles": ["offline_access", *roles]},
            "iat": now,
            "exp": now + 3600,
        }
        return {name: value for name, value in {**said, **changes}.items() if value is not None}

    def token(self, key: IssuerKey, *roles: str, headers: dict[str, Any] | None = None, **changes: Any) -> str:
        """A token of somebody with ``roles``."""
        said = {"kid": key.kid, **(headers or {})}
        return jwt.encode(self.claims(*roles, **changes), key.private_key, key.algorithm, headers=said)


@asynccontextmanager
async def running_issuer() -> AsyncIterator[Issuer]:
    """An issuer on loopback."""

    async def certs(_: web.Request) -> web.Response:
        issuer.fetches += 1
        if not issuer.works:
            raise web.HTTPServiceUnavailable
        # Keycloak publishes keys to encrypt for, too.
        encryption = {**IssuerKey(_ENCRYPTION_KEY, "RS256").public_jwk(), "use": "enc", "alg": "RSA-OAEP"}
        return web.json_response({"keys": [encryption, *issuer.published]})

    app = web.Application()
    app.router.add_get("/realms/mesh/certs", certs)
    server = TestServer(app, host="127.0.0.1")
    async with server:
        issuer = Issuer(server)
        yield issuer


_ENCRYPTION_KEY = an_rsa_key()
