"""Auth services with people, their API keys, and what Envoy asks about them."""

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from google.rpc import error_details_pb2, status_pb2

from levimesh.auth.v1 import api_key_service_pb2 as pb
from levimesh.auth.v1 import api_key_service_pb2_grpc as pb_grpc
from levimesh.auth.v1 import user_service_pb2
from levimesh.foreign.envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc
from levimesh.foreign.envoy.service.ratelimit.v3 import rls_pb2_grpc
from levimesh.policy.v1 import policy_pb2
from services.auth import contracts
from services.runtime.statuses import STATUS_DETAILS
from tests.auth import RunningAuth, SetClock, auth_settings, running_auth
from tests.people import ANN_PASSWORD, Metadata

BOB_PASSWORD = "the password of bob"
HOME = "192.0.2.7"


@dataclass(frozen=True)
class Programs:
    """Replicas of an auth service with the admin root, ann, a trader, and bob, a viewer, who have logged in."""

    replicas: Sequence[RunningAuth]
    clock: SetClock
    root: Metadata
    ann: Metadata
    bob: Metadata
    ann_id: str

    def keys(self, replica: int = 0) -> Any:
        """A stub of ApiKeyService."""
        return pb_grpc.ApiKeyServiceStub(self.replicas[replica].served.channel(contracts.API_KEY_SERVICE))

    def edge(self, replica: int = 0, caller: str = "gateway") -> Any:
        """A stub of what Envoy asks about keys."""
        channel = self.replicas[replica].served.channel(contracts.AUTHORIZATION, caller)
        return external_auth_pb2_grpc.AuthorizationStub(channel)

    def counter(self, replica: int = 0, caller: str = "gateway") -> Any:
        """A stub of what Envoy asks about limits."""
        channel = self.replicas[replica].served.channel(contracts.RATE_LIMIT_SERVICE, caller)
        return rls_pb2_grpc.RateLimitServiceStub(channel)

    async def create(self, owner: Metadata | None = None, **said: Any) -> pb.CreateApiKeyResponse:
        """A key of ann unless said otherwise, for reading."""
        request = pb.CreateApiKeyRequest(**{"name": "bot", "scopes": ["SCOPE_READ"], **said})
        response: pb.CreateApiKeyResponse = await self.keys().CreateApiKey(request, metadata=owner or self.ann)
        return response

    async def check(self, secret: str | None, address: str = HOME, replica: int = 0) -> "Checked":
        """What Envoy is told about a call with this key."""
        return Checked(await self.edge(replica).Check(a_check(secret, address)))


@dataclass(frozen=True)
class Checked:
    """The answer to Envoy's question."""

    response: external_auth_pb2.CheckResponse

    @property
    def admitted(self) -> bool:
        """Whether the call goes on."""
        return self.response.HasField("ok_response")

    @property
    def headers(self) -> dict[str, str]:
        """The headers that it goes on with, or that the refusal has."""
        answer = self.response.ok_response if self.admitted else self.response.denied_response
        return {option.header.key: option.header.value for option in answer.headers}

    @property
    def bearing(self) -> Metadata:
        """The metadata of the call as it goes on."""
        return (("authorization", self.headers["authorization"]),)

    @property
    def claims(self) -> dict[str, Any]:
        """What the token says."""
        token = self.headers["authorization"].removeprefix("Bearer ")
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        return claims

    @property
    def refusal(self) -> tuple[int, str]:
        """The HTTP status and the reason; the body and grpc-status-details say the same."""
        denied = self.response.denied_response
        (detail, *_) = json.loads(denied.body)["details"]
        status = status_pb2.Status.FromString(base64.b64decode(self.headers[STATUS_DETAILS]))
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert (info.reason, info.domain) == (detail["reason"], detail["domain"])
        assert status.message == json.loads(denied.body)["message"]
        return denied.status.code, info.reason.removeprefix("ERROR_REASON_")


def a_check(secret: str | None, address: str = HOME) -> external_auth_pb2.CheckRequest:
    """Envoy's question about a call from ``address``."""
    request = external_auth_pb2.CheckRequest()
    headers = request.attributes.request.http.headers
    headers["x-levimesh-address"] = address
    if secret is not None:
        headers["x-api-key"] = secret
    return request


@asynccontextmanager
async def running_programs(
    database_url: str, redis_url: str, certificates: Path, *, replicas: int = 1, **settings: Any
) -> AsyncIterator[Programs]:
    """Auth services on one database and one Redis."""
    clock = SetClock()
    chosen = auth_settings(database_url, redis_url=redis_url, **settings)
    async with AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(running_auth(chosen, certificates, now=clock)) for _ in range(replicas)
        ]
        first = running[0]
        await first.create_admin()
        root = await first.login()
        ann = await _new_user(first, root, "ann", ANN_PASSWORD, policy_pb2.ROLE_TRADER)
        await _new_user(first, root, "bob", BOB_PASSWORD, policy_pb2.ROLE_VIEWER)
        people = await first.login("ann", ANN_PASSWORD), await first.login("bob", BOB_PASSWORD)
        yield Programs(running, clock, root, *people, ann)


async def _new_user(
    running: RunningAuth, admin: Metadata, username: str, password: str, role: "policy_pb2.Role.ValueType"
) -> str:
    new = user_service_pb2.CreateUserRequest(username=username, password=password, roles=[role])
    user_id: str = (await running.users().CreateUser(new, metadata=admin)).user.user_id
    return user_id
