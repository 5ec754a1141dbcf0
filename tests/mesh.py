"""Real servers and channels over mTLS on free ports, and the users' tokens for them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.descriptor import ServiceDescriptor
from google.rpc import error_details_pb2, status_pb2
from jwt.algorithms import OKPAlgorithm
from opentelemetry.sdk.trace.export import SpanExporter
from prometheus_client import CollectorRegistry

from services.runtime.audit import AuditLog
from services.runtime.channels import open_channel
from services.runtime.health import Health
from services.runtime.server import build_server, listen
from services.runtime.stages import Stages
from services.runtime.statuses import STATUS_DETAILS
from services.runtime.stream_guard import STALLED_SECONDS
from services.runtime.telemetry import Metrics, Tracing
from services.runtime.tokens import ALGORITHM, TokenVerifier
from services.runtime.workload import WorkloadFiles
from tests.audit import RememberedAudit

ISSUER = AUDIENCE = "levimesh"
SIGNING_KEY = Ed25519PrivateKey.generate()
KEY_ID = "test-key"
A_USER_ID = "6f1c1f0e-0000-4000-8000-000000000001"
A_SESSION_ID = "5e551011-0000-4000-8000-000000000001"


def public_keys() -> list[dict[str, str]]:
    """The JWKS of the key that ``a_token`` signs with."""
    key = OKPAlgorithm.to_jwk(SIGNING_KEY.public_key(), as_dict=True)
    return [{**{name: str(value) for name, value in key.items() if isinstance(value, str)}, "kid": KEY_ID}]


def a_token(
    *roles: str, user_id: str = "6f1c1f0e-0000-4000-8000-000000000001", key: Any = SIGNING_KEY, **claims: Any
) -> str:
    """An access token of a user with ``roles``, such as "ROLE_TRADER"; ``claims`` overrides what it says."""
    now = int(time.time())
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": user_id,
        "username": "someone",
        "roles": list(roles),
        "rights": 1,
        "sid": A_SESSION_ID,
        "tier": "standard",
        "iat": now,
        "nbf": now,
        # Longer than any run of the tests: tokens are made when a module is collected, too.
        "exp": now + 86_400,
    }
    headers = {"kid": KEY_ID, "typ": "at+jwt"}
    return jwt.encode({**said, **claims}, key, algorithm=ALGORITHM, headers=headers)


def files_of(certificates: Path, workload: str) -> WorkloadFiles:
    """The certificate files of ``workload``."""
    folder = certificates / workload
    return WorkloadFiles(folder / "certificate.pem", folder / "private_key.pem", certificates / "ca.pem")


@dataclass
class Served:
    """A running server."""

    workload: str
    port: int
    health: Health
    stages: Stages
    registry: CollectorRegistry
    certificates: Path
    _channels: list[grpc.aio.Channel] = field(default_factory=list)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def channel(self, service: ServiceDescriptor, caller: str = "gateway") -> grpc.aio.Channel:
        """A channel to the server as the workload ``caller``; closed with the server."""
        channel = open_channel(service, self.workload, self.target, files_of(self.certificates, caller))
        self._channels.append(channel)
        return channel

    async def close_channels(self) -> None:
        for channel in self._channels:
            await channel.close()


@asynccontextmanager
async def serving(
    services: dict[ServiceDescriptor, object],
    certificates: Path,
    *,
    workload: str,
    port: int = 0,
    exporter: SpanExporter | None = None,
    max_concurrent_calls: int = 1000,
    connection_seconds: float = 900,
    audit: AuditLog | None = None,
    token_clock: Callable[[], float] = time.time,
    stalled_seconds: float = STALLED_SECONDS,
) -> AsyncIterator[Served]:
    """Serve ``services`` over mTLS as ``workload``, on a free port unless one is given."""
    verifier = TokenVerifier(ISSUER, AUDIENCE, now=token_clock)
    verifier.set_keys(public_keys())
    registry = CollectorRegistry()
    stages = Stages(
        verifier,
        Metrics(registry),
        Tracing(workload, exporter, 1.0),
        max_concurrent_calls,
        audit or RememberedAudit(),
        stalled_seconds=stalled_seconds,
    )
    health = Health()
    server = build_server(services, stages, health, connection_seconds=connection_seconds)
    port = listen(server, f"127.0.0.1:{port}", files_of(certificates, workload))
    await server.start()
    served = Served(workload, port, health, stages, registry, certificates)
    try:
        yield served
    finally:
        await served.close_channels()
        stages.drain_streams()
        await server.stop(1)
        stages.tracing.close()


def bearing(token: str) -> tuple[tuple[str, str], ...]:
    """The metadata that carries ``token``."""
    return (("authorization", f"Bearer {token}"),)


def details_of(error: grpc.aio.AioRpcError, kind: Any) -> Any:
    """The detail of type ``kind`` in ``error``, or None."""
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS:
            for packed in status_pb2.Status.FromString(value).details:
                if packed.Is(kind.DESCRIPTOR):
                    detail = kind()
                    packed.Unpack(detail)
                    return detail
    return None


def error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    """The ErrorInfo of ``error``; an empty one if it has none."""
    found: error_details_pb2.ErrorInfo = details_of(error, error_details_pb2.ErrorInfo)
    return found or error_details_pb2.ErrorInfo()


async def ending_of(call: Any) -> tuple[grpc.StatusCode, str]:
    """Status and reason with which a stream ends, whatever comes before."""
    try:
        async with asyncio.timeout(10):
            while await call.read() is not grpc.aio.EOF:
                pass
    except grpc.aio.AioRpcError as error:
        return error.code(), error_info(error).reason
    return grpc.StatusCode.OK, ""
