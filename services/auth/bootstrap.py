"""Puts the parts of the service together; what differs between a process and a test is passed in."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from argon2 import PasswordHasher
from google.protobuf.json_format import MessageToDict
from sqlalchemy.ext.asyncio import AsyncEngine

from services.auth.adapters.argon2 import Argon2Passwords, owasp_hasher
from services.auth.adapters.ed25519 import JwtTokens, SigningKey
from services.auth.adapters.postgres import SqlSigningKeys, SqlUsers
from services.auth.servicer import AuthServicer
from services.auth.settings import AuthSettings
from services.auth.use_cases import CreateFirstAdmin, CreateUser, GetUser, ListUsers, Login
from services.runtime.clock import Clock, utc_now


@dataclass(frozen=True)
class Auth:
    """The service, ready to run."""

    servicer: AuthServicer
    public_keys: list[dict[str, str]]
    """The JSON Web Keys by which this service checks the tokens of its own callers."""


@asynccontextmanager
async def open_auth(
    settings: AuthSettings,
    engine: AsyncEngine,
    *,
    hasher: PasswordHasher | None = None,
    now: Clock = utc_now,
    new_id: Callable[[], UUID] = uuid4,
) -> AsyncIterator[Auth]:
    """The service on ``engine``. Raises KeyNotOpened when the key-encryption key is not that of the stored keys."""
    key = await _open_signing_key(engine, settings, now)
    users = SqlUsers(engine)
    passwords = Argon2Passwords(
        hasher or owasp_hasher(), workers=settings.password_workers, queue=settings.password_queue
    )
    tokens = JwtTokens(
        key,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        seconds=settings.token_lifetime_seconds,
    )
    servicer = AuthServicer(
        Login(users, passwords, tokens, now),
        CreateUser(users, passwords, now, new_id),
        CreateFirstAdmin(users, passwords, now, new_id),
        GetUser(users),
        ListUsers(users),
        [key.public_jwk()],
    )
    try:
        yield Auth(servicer, [MessageToDict(key.public_jwk())])
    finally:
        passwords.close()


async def _open_signing_key(engine: AsyncEngine, settings: AuthSettings, now: Clock) -> SigningKey:
    """The key that every replica signs with; the first replica of all makes it."""
    key_encryption_key = settings.key_encryption_bytes
    candidate = SigningKey.generate().seal(key_encryption_key, now())
    return SigningKey.open(await SqlSigningKeys(engine).first(candidate), key_encryption_key)
