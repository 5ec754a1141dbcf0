"""Puts the parts of the service together; what differs between a process and a test is passed in."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from argon2 import PasswordHasher
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.json_format import MessageToDict
from sqlalchemy.ext.asyncio import AsyncEngine

from levimesh.auth.v1 import auth_service_pb2, user_service_pb2
from services.auth.adapters.argon2 import Argon2Passwords, owasp_hasher
from services.auth.adapters.ed25519 import JwtTokens, SigningKey
from services.auth.adapters.signing_keys import SqlSigningKeys
from services.auth.adapters.users import SqlUsers
from services.auth.servicers.sessions import AuthServicer
from services.auth.servicers.users import UserServicer
from services.auth.settings import AuthSettings
from services.auth.use_cases.sessions import Login
from services.auth.use_cases.users import CreateFirstAdmin, CreateUser, GetUser, ListUsers
from services.runtime.clock import Clock, utc_now

AUTH_SERVICE = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"]
USER_SERVICE = user_service_pb2.DESCRIPTOR.services_by_name["UserService"]


@dataclass(frozen=True)
class Auth:
    """The service, ready to run."""

    servicers: dict[ServiceDescriptor, object]
    """What it serves."""
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
    user_servicer = UserServicer(
        CreateUser(users, passwords, now, new_id),
        CreateFirstAdmin(users, passwords, now, new_id),
        GetUser(users),
        ListUsers(users),
    )
    servicers: dict[ServiceDescriptor, object] = {
        AUTH_SERVICE: AuthServicer(Login(users, passwords, tokens, now), [key.public_jwk()]),
        USER_SERVICE: user_servicer,
    }
    try:
        yield Auth(servicers, [MessageToDict(key.public_jwk())])
    finally:
        passwords.close()


async def _open_signing_key(engine: AsyncEngine, settings: AuthSettings, now: Clock) -> SigningKey:
    """The key that every replica signs with; the first replica of all makes it."""
    key_encryption_key = settings.key_encryption_bytes
    candidate = SigningKey.generate().seal(key_encryption_key, now())
    return SigningKey.open(await SqlSigningKeys(engine).first(candidate), key_encryption_key)
