"""Puts the parts together that programs and the edge need: API keys, limits, and what the gateway asks."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from uuid import UUID

from google.protobuf.descriptor import ServiceDescriptor
from sqlalchemy.ext.asyncio import AsyncEngine

from levimesh.auth.v1 import policy_service_pb2
from services.auth import contracts
from services.auth.adapters.api_keys import SqlApiKeys
from services.auth.adapters.key_alarms import AuditedAlarms
from services.auth.adapters.limits import open_call_counter
from services.auth.adapters.recent_keys import KeysInTurn, LazyUses, RecentKeys
from services.auth.background import TIDY_EVERY, repeat
from services.auth.ports.sessions import Tokens
from services.auth.ports.users import Users
from services.auth.servicers.api_keys import ApiKeyServicer, ApiKeyUseCases
from services.auth.servicers.edge import AuthorizationServicer, RateLimitServicer
from services.auth.servicers.policy import PolicyServicer
from services.auth.settings import AuthSettings
from services.auth.use_cases.api_keys import (
    AuthenticateApiKey,
    CreateApiKey,
    ExchangeApiKey,
    ForgetApiKeys,
    ListApiKeys,
    RevokeApiKey,
    RotateApiKey,
)
from services.auth.use_cases.external import ExchangeExternalToken
from services.auth.use_cases.limits import Allowances, CountCall, ReadLimits
from services.runtime.audit import AuditLog
from services.runtime.clock import Clock
from services.runtime.policy import effective_policy, policies


@dataclass(frozen=True)
class Edge:
    """What programs and the edge need, ready to run."""

    servicers: dict[ServiceDescriptor, object]
    authenticate_api_key: AuthenticateApiKey
    """For the token endpoint."""
    ping_redis: Callable[[], Awaitable[None]]
    """Raises unless calls can be counted."""
    background: dict[str, Callable[[], Awaitable[None]]]
    """Work that goes on as long as the process, by name."""


@asynccontextmanager
async def open_edge(
    settings: AuthSettings,
    engine: AsyncEngine,
    users: Users,
    tokens: Tokens,
    exchange_external: ExchangeExternalToken,
    audit: AuditLog,
    now: Clock,
    new_id: Callable[[], UUID],
) -> AsyncIterator[Edge]:
    """API keys in the database behind ``engine``, limits in the Redis of ``settings``."""
    keys, uses = SqlApiKeys(engine, users), LazyUses(engine)
    in_turn, alarms = KeysInTurn(keys.find), AuditedAlarms(audit)
    # A client keeps the token that it is given for minutes, so a key is looked up each time.
    authenticate = AuthenticateApiKey(in_turn, uses, alarms, now)
    authenticate_call = AuthenticateApiKey(RecentKeys(in_turn.find), uses, alarms, now)
    limited = (policy for service in contracts.MESH for policy in policies(service).values())
    allowances = Allowances(limited, settings.rate_limit_scale)
    async with open_call_counter(settings.redis_url) as counter:
        use_cases = ApiKeyUseCases(
            create=CreateApiKey(keys, users, now, new_id, settings.api_keys_per_user),
            list=ListApiKeys(keys),
            rotate=RotateApiKey(keys, now),
            revoke=RevokeApiKey(keys, now),
        )
        servicers: dict[ServiceDescriptor, object] = {
            contracts.API_KEY_SERVICE: ApiKeyServicer(use_cases),
            contracts.POLICY_SERVICE: PolicyServicer(_policy(), ReadLimits(allowances, counter)),
            contracts.AUTHORIZATION: AuthorizationServicer(
                ExchangeApiKey(authenticate_call, tokens, now), exchange_external
            ),
            contracts.RATE_LIMIT_SERVICE: RateLimitServicer(CountCall(allowances, counter)),
        }
        forget = ForgetApiKeys(keys, timedelta(days=settings.api_key_retention_days), now)
        background: dict[str, Callable[[], Awaitable[None]]] = {
            "uses of API keys": uses.keep_writing,
            "tidying of API keys": partial(repeat, forget, TIDY_EVERY),
        }
        try:
            yield Edge(servicers, authenticate, counter.ping, background)
        finally:
            await uses.try_to_write()


def _policy() -> policy_service_pb2.GetPolicyResponse:
    """What holds for every method of the mesh, by its path."""
    by_path = {
        f"/{method.containing_service.full_name}/{method.name}": effective_policy(method)
        for method in contracts.methods()
    }
    return policy_service_pb2.GetPolicyResponse(
        methods=[
            policy_service_pb2.EffectivePolicy(method=path, policy=policy) for path, policy in sorted(by_path.items())
        ]
    )
