"""Puts the parts of the service together; what differs between a process and a test is passed in."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID, uuid4

from argon2 import PasswordHasher
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.json_format import MessageToDict
from sqlalchemy.ext.asyncio import AsyncEngine

from levimesh.auth.v1 import audit_service_pb2, auth_service_pb2, oauth_service_pb2, user_service_pb2
from services.auth import contracts
from services.auth.adapters.authenticators import SqlAuthenticators
from services.auth.adapters.sealing import Sealer
from services.auth.adapters.users import SqlUsers
from services.auth.auditing import Auditing, build_auditing
from services.auth.edge import Edge, open_edge
from services.auth.oauth import oauth_servicer, open_external
from services.auth.people import open_people, user_servicer
from services.auth.session_converters import key_to_pb
from services.auth.sessions import (
    Background,
    Issuing,
    SessionParts,
    follow_issuing,
    follow_key_encryption,
    open_issuing,
    session_parts,
)
from services.auth.settings import AuthSettings
from services.runtime.audit import AuditLog
from services.runtime.clock import Clock, utc_now

AUDIT_SERVICE = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]
AUTH_SERVICE = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"]
OAUTH_SERVICE = oauth_service_pb2.DESCRIPTOR.services_by_name["OAuthService"]
USER_SERVICE = user_service_pb2.DESCRIPTOR.services_by_name["UserService"]


@dataclass(frozen=True)
class Auth:
    """The service, ready to run."""

    servicers: dict[ServiceDescriptor, object]
    """What it serves."""
    issuing: Issuing
    sessions: SessionParts
    edge: Edge
    auditing: Auditing
    background: Background
    """What goes on beside it."""

    async def keys(self) -> Sequence[dict[str, str]]:
        """The JSON Web Keys by which this service checks the tokens of its own callers, as everybody does."""
        return [MessageToDict(key_to_pb(key)) for key in self.issuing.public_keys()]

    @property
    def revoked(self) -> Callable[[], Awaitable[frozenset[str]]]:
        """Asks for everything whose tokens are to be refused."""
        return self.sessions.revocations.current


@asynccontextmanager
async def open_auth(
    settings: AuthSettings,
    engine: AsyncEngine,
    audit: AuditLog,
    *,
    hasher: PasswordHasher | None = None,
    now: Clock = utc_now,
    new_id: Callable[[], UUID] = uuid4,
) -> AsyncIterator[Auth]:
    """The service on ``engine``. Raises KeyNotOpened when the key-encryption key is not that of the stored keys."""
    sealer = Sealer(settings.key_encryption_keys)
    issuing = await open_issuing(settings, engine, sealer, audit, now)
    authenticators = SqlAuthenticators(engine, sealer)
    await authenticators.reseal()
    follow = partial(follow_key_encryption, sealer, (issuing.reseal, authenticators.reseal))
    with open_people(settings, engine, sealer, audit, hasher, now) as people:
        auditing = build_auditing(settings, engine, now)
        sessions = session_parts(settings, engine, people, issuing, audit, now, new_id)
        servicers: dict[ServiceDescriptor, object] = {
            AUTH_SERVICE: sessions.servicer,
            USER_SERVICE: user_servicer(people, sessions.sessions, now, new_id),
            AUDIT_SERVICE: auditing.servicer,
        }
        async with (
            open_external(settings, engine, people.users, issuing.tokens, audit, now, new_id) as external,
            open_edge(settings, engine, people.users, issuing.tokens, external, audit, now, new_id) as edge,
        ):
            servicers[OAUTH_SERVICE] = oauth_servicer(
                settings, engine, people, sessions, edge.authenticate_api_key, issuing, audit, now, new_id
            )
            background: Background = {"key encryption": follow, **issuing.background, **sessions.background}
            background |= {**edge.background, **auditing.background}
            yield Auth({**servicers, **edge.servicers}, issuing, sessions, edge, auditing, background)


@asynccontextmanager
async def open_edge_worker(
    settings: AuthSettings,
    engine: AsyncEngine,
    audit: AuditLog,
    *,
    now: Clock = utc_now,
    new_id: Callable[[], UUID] = uuid4,
) -> AsyncIterator[Edge]:
    """Only what the gateway asks while a call waits, with the signing keys that the whole service keeps.

    Waits until that has made the first. Raises KeyNotOpened as it does.
    """
    tokens, following = await follow_issuing(settings, engine, Sealer(settings.key_encryption_keys), audit)
    users = SqlUsers(engine)
    async with (
        open_external(settings, engine, users, tokens, audit, now, new_id) as external,
        open_edge(settings, engine, users, tokens, external, audit, now, new_id) as edge,
    ):
        servicers = {service: edge.servicers[service] for service in contracts.ASKED_AT_THE_EDGE}
        yield replace(edge, servicers=servicers, background={**following, **edge.background})
