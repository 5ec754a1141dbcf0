"""Every service as a process of its own on real servers, and all that comes out of them: logs, spans, metrics, rows."""

import asyncio
import base64
import importlib
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

import levimesh
from levimesh.auth.v1 import edge_pb2
from levimesh.policy.v1 import policy_pb2
from services.auth.contracts import ASKED_AT_THE_EDGE
from services.runtime.migrations import migrate
from services.runtime.policy import Policy, policies
from services.stack.ports import find_free
from services.stack.postgres import Cluster, run_as
from services.stack.redis import RedisServer
from tests.canaries import Canaries
from tests.mesh import files_of

SERVICES = ("auth", "marketdata", "prediction", "trading")
EDGE = "auth-edge"
PROCESSES = (*SERVICES, EDGE)
"""What the mesh runs: each service, and the worker of auth."""
WITHIN = 60.0
_CALL_SECONDS = 4.0

Metadata = tuple[tuple[str, str], ...]


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps spans as they came."""

    def __init__(self) -> None:
        self.spans: list[bytes] = []

    async def Export(self, request: Any, context: Any) -> trace_service_pb2.ExportTraceServiceResponse:
        self.spans.append(request.SerializeToString())
        return trace_service_pb2.ExportTraceServiceResponse()


@dataclass
class Backend:
    """A server that the services need, which can be taken away."""

    command: list[str]
    ping: Callable[[], Awaitable[None]]
    log: Path
    stop_signal: signal.Signals
    user: Any = field(default_factory=dict)
    _process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self.command, stdout=output, stderr=output, **self.user
            )
        async with asyncio.timeout(WITHIN):
            while not await _answers(self.ping):  # noqa: ASYNC110 - it is told by nothing else
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(self.stop_signal)
            await process.wait()


@dataclass
class Mesh:
    """The running services."""

    canaries: Canaries
    certificates: Path
    folder: Path
    cluster: Cluster
    postgres: Backend
    redis: Backend
    collector: Collector = field(default_factory=Collector)
    ports: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    outcomes: dict[str, set[str]] = field(default_factory=dict)
    """Which statuses each method has ended with."""
    _channels: dict[tuple[str, str], grpc.aio.Channel] = field(default_factory=dict)

    async def call(
        self, service: str, method: MethodDescriptor, request: Any, metadata: Metadata = (), caller: str = "gateway"
    ) -> Any:
        """The answer, or the first message of a stream; None when there is none. Errors and secrets in it are kept."""
        path = f"/{method.containing_service.full_name}/{method.name}"
        response_type: Any = message_factory.GetMessageClass(method.output_type)
        make = getattr(self._channel(service, caller), "unary_stream" if method.server_streaming else "unary_unary")
        stub = make(path, type(request).SerializeToString, response_type.FromString)
        outcomes = self.outcomes.setdefault(path, set())
        try:
            call = stub(request, metadata=metadata, timeout=_CALL_SECONDS)
            response = await (_first(call) if method.server_streaming else call)
        except grpc.aio.AioRpcError as error:
            outcomes.add(error.code().name)
            told = (error.details(), error.debug_error_string(), error.initial_metadata(), error.trailing_metadata())
            self.errors.append(f"{path}: {told!r}")
            return None
        outcomes.add("OK")
        if response is not None:
            self.canaries.learn(response)
        return response

    async def came_out(self) -> dict[str, str]:
        """Everything, by where it was found."""
        found = {f"log {path.name}": path.read_text(errors="replace") for path in self.folder.glob("*.log")}
        found["errors"] = "\n".join(self.errors)
        found["spans"] = b"\n".join(self.collector.spans).decode("utf-8", "replace")
        async with aiohttp.ClientSession() as http:
            for name in PROCESSES:
                async with http.get(f"http://127.0.0.1:{self.ports[f'metrics of {name}']}/metrics") as response:
                    found[f"metrics of {name}"] = await response.text()
        return found | await self._rows()

    async def _rows(self) -> dict[str, str]:
        """Every row of every table of the services, bytes as text too."""
        connection = await self.cluster.connect("levimesh")
        try:
            tables = await connection.fetch(
                "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables "
                "WHERE schemaname = ANY($1::text[])",
                list(SERVICES),
            )
            return {
                f"table {table['name']}": "\n".join(
                    _readable(value)
                    for row in await connection.fetch(f"SELECT * FROM {table['name']}")  # noqa: S608 - quoted by the server
                    for value in row.values()
                )
                for table in tables
            }
        finally:
            await connection.close()

    async def until_serving(self, service: str) -> None:
        """Wait until the whole service says that it serves; for those without an exchange, until it answers."""
        health: Any = health_pb2_grpc.HealthStub(self._channel(service, "stack"))
        async with asyncio.timeout(WITHIN):
            while True:
                with suppress(grpc.aio.AioRpcError):
                    answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=2)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING or service == "marketdata":
                        return
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()

    def _channel(self, service: str, caller: str) -> grpc.aio.Channel:
        if (service, caller) not in self._channels:
            options = [("grpc.ssl_target_name_override", _workload(service)), ("grpc.max_metadata_size", 64 * 1024)]
            credentials = files_of(self.certificates, caller).channel_credentials()
            target = f"127.0.0.1:{self.ports[service]}"
            self._channels[service, caller] = grpc.aio.secure_channel(target, credentials, options)
        return self._channels[service, caller]


def methods_of(service: str) -> Iterator[tuple[Policy, MethodDescriptor]]:
    """Every method that a process of ``PROCESSES`` serves, those of others' contracts included, with its policy."""
    for descriptor in _served_by(service):
        by_path = policies(descriptor)
        for method in descriptor.methods:
            yield by_path[f"/{descriptor.full_name}/{method.name}"], method


@asynccontextmanager
async def running_mesh(canaries: Canaries, certificates: Path) -> AsyncIterator[Mesh]:
    """Every service, with secrets of its own, traced always and logging everything."""
    # Not below pytest's own folder: as root PostgreSQL runs as somebody else, who may not look into that.
    with tempfile.TemporaryDirectory(prefix="levimesh-wiretap-") as name:
        folder = Path(name)
        first = find_free(2 + len(_port_names()), first=12_000 + secrets.randbelow(15_000))
        passwords = {service: canaries.make(f"database password of {service}") for service in SERVICES}
        cluster = Cluster(folder / "data", first[0], canaries.make("superuser's password"), ephemeral=True)
        redis = RedisServer(folder / "redis", first[1], canaries.make("password of Redis"))
        await cluster.initialise()
        await redis.prepare()
        mesh = Mesh(
            canaries,
            certificates,
            folder,
            cluster,
            Backend(cluster.command, cluster.ping, folder / "postgres.log", signal.SIGINT, run_as()),
            Backend(redis.command, redis.ping, folder / "redis.log", signal.SIGTERM),
        )
        mesh.ports = dict(zip(_port_names(), first[2:], strict=True))
        async with AsyncExitStack() as stack:
            endpoint = await stack.enter_async_context(_collecting(mesh.collector))
            for backend in (mesh.postgres, mesh.redis):
                stack.push_async_callback(backend.stop)
                await backend.start()
            await cluster.provide("levimesh", passwords)
            stack.push_async_callback(mesh.close)
            for service in SERVICES:
                url = cluster.url(service, passwords[service], "levimesh")
                await migrate(service, url)
                environment = _environment(mesh, service, url, redis.url, endpoint)
                await stack.enter_async_context(_process(service, f"services.{service}", environment, folder))
                if service == "auth":
                    at_edge = {**environment, **_ports_of(mesh, EDGE)}
                    await stack.enter_async_context(_process(EDGE, "services.auth.edge_worker", at_edge, folder))
            for process in PROCESSES:
                await mesh.until_serving(process)
            yield mesh


def _port_names() -> list[str]:
    return [*PROCESSES, *(f"metrics of {process}" for process in PROCESSES), "nothing"]


def _workload(process: str) -> str:
    return "auth" if process == EDGE else process


def _ports_of(mesh: Mesh, process: str) -> Mapping[str, str]:
    """The settings of the ports of ``process``."""
    prefix = _workload(process).upper()
    return {
        f"{prefix}_PORT": str(mesh.ports[process]),
        f"{prefix}_METRICS_PORT": str(mesh.ports[f"metrics of {process}"]),
    }


def _environment(mesh: Mesh, service: str, database: str, redis: str, endpoint: str) -> Mapping[str, str]:
    files = files_of(mesh.certificates, service)
    given = {
        "DATABASE_URL": database,
        "REDIS_URL": redis,
        "TLS_CERTIFICATE": files.certificate,
        "TLS_PRIVATE_KEY": files.private_key,
        "TLS_TRUST_BUNDLE": files.trust_bundle,
        "LOG_LEVEL": "DEBUG",
        "OTLP_ENDPOINT": endpoint,
        "TRACE_SAMPLE_RATIO": 1,
        "DRAIN_NOTICE_SECONDS": 0,
        **{f"{other.upper()}_TARGET": f"127.0.0.1:{mesh.ports[other]}" for other in SERVICES if other != service},
    }
    if service == "auth":
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        given["KEY_ENCRYPTION_KEY"] = mesh.canaries.know(key, "key-encryption key")
    if service == "prediction":
        given["MODEL_STORE_URL"] = (mesh.folder / "models").as_uri()
    if service == "marketdata":
        given["BASE_URL"] = f"http://127.0.0.1:{mesh.ports['nothing']}"
    ours = {f"{service.upper()}_{name}": str(value) for name, value in given.items()}
    return {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path)), **ours, **_ports_of(mesh, service)}


@asynccontextmanager
async def _process(name: str, module: str, environment: Mapping[str, str], folder: Path) -> AsyncIterator[None]:
    with (folder / f"{name}.log").open("wb") as log:
        command = (sys.executable, "-m", module)
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@asynccontextmanager
async def _collecting(collector: Collector) -> AsyncIterator[str]:
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]  # generated without types
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def _first(stream: Any) -> Any:
    """The first message of ``stream``, if there is one soon."""
    try:
        async with asyncio.timeout(0.3):
            message = await stream.read()
    except TimeoutError:
        stream.cancel()
        return None
    return None if message is grpc.aio.EOF else message


def _served_by(service: str) -> list[ServiceDescriptor]:
    if service == EDGE:
        return list(ASKED_AT_THE_EDGE)
    own = [each for file in _files_of(service) for each in file.services_by_name.values()]
    if service != "auth":
        return own
    wanted = {
        each.method.rpartition(".")[0] for each in edge_pb2.DESCRIPTOR.GetOptions().Extensions[policy_pb2.foreign]
    }
    foreign = [each for file in _files_of("foreign") for each in file.services_by_name.values()]
    return own + [each for each in foreign if each.full_name in wanted]


def _files_of(package: str) -> Iterator[Any]:
    root = Path(next(iter(levimesh.__path__)))
    for path in sorted((root / package).rglob("*_pb2.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        yield importlib.import_module(f"levimesh.{name}").DESCRIPTOR


async def _answers(ping: Callable[[], Awaitable[None]]) -> bool:
    with suppress(Exception):
        await ping()
        return True
    return False


def _readable(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
