"""The life of a service's process: open, serve until told to stop, drain, close."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from levimesh.auth.v1 import (
    audit_pb2,
    audit_service_pb2,
    audit_service_pb2_grpc,
    auth_service_pb2,
    auth_service_pb2_grpc,
)
from services.runtime import logging as runtime_logging
from services.runtime.audit_outbox import SqlAuditLog
from services.runtime.channels import open_channel
from services.runtime.errors import MeshError
from services.runtime.health import Health, watch
from services.runtime.server import build_server, listen
from services.runtime.settings import ServiceSettings
from services.runtime.stages import Stages
from services.runtime.telemetry import Metrics, Tracing, serve_metrics
from services.runtime.tokens import TokenVerifier
from services.runtime.trust import PublishedByAuth, refresh_keys, refresh_revocations
from services.runtime.workload import WorkloadFiles

_log = logging.getLogger(__name__)

_SUPPLIES_EVERY = 0.2


class Runtime:
    """What a service's main needs besides its own parts."""

    def __init__(
        self,
        name: str,
        settings: ServiceSettings,
        tracing: Tracing,
        stack: AsyncExitStack,
        audit: SqlAuditLog | None = None,
    ) -> None:
        self.name = name
        self.health = Health()
        self.verifier = TokenVerifier(
            settings.token_issuer,
            settings.token_audience,
            trust_revocations_for=settings.trust_revocations_seconds,
        )
        self.stopping = asyncio.Event()
        """Set when the process is told to stop."""
        self._settings = settings
        self._stack = stack
        self._files = WorkloadFiles(settings.tls_certificate, settings.tls_private_key, settings.tls_trust_bundle)
        self._audit = audit
        self._stages = Stages(self.verifier, Metrics(), tracing, settings.max_concurrent_calls, audit)
        self._tasks: set[asyncio.Task[None]] = set()

    async def channel(self, service: ServiceDescriptor, workload: str, target: str) -> grpc.aio.Channel:
        """A channel for ``service`` to ``workload`` at ``target``; closed with the runtime."""
        channel = open_channel(service, workload, target, self._files)
        return await self._stack.enter_async_context(channel)

    async def fetch_keys(self) -> None:
        """Keep the verifier supplied with what the auth service publishes: its keys, and what is revoked."""
        service = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"]
        stub = auth_service_pb2_grpc.AuthServiceStub(await self.channel(service, "auth", self._settings.auth_target))
        published = PublishedByAuth(stub)
        self.check_tokens_by(published.keys, published.revoked)

    def check_tokens_by(
        self,
        keys: Callable[[], Awaitable[Iterable[Mapping[str, str]]]],
        revoked: Callable[[], Awaitable[Iterable[str]]],
    ) -> None:
        """Keep the verifier supplied with ``keys`` and with what is ``revoked``."""
        self.spawn("signing keys", lambda: refresh_keys(self.verifier, keys))
        self.spawn("revocations", lambda: refresh_revocations(self.verifier, revoked))
        part = self.health.part("access tokens")

        async def tokens_can_be_checked() -> None:
            self.verifier.check_supplies()

        self.spawn("access tokens health", partial(watch, part, tokens_can_be_checked, _SUPPLIES_EVERY))

    async def relay_audit(self) -> None:
        """Keep sending what is recorded to the audit chain, which the auth service keeps."""
        service = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]
        stub = audit_service_pb2_grpc.AuditServiceStub(await self.channel(service, "auth", self._settings.auth_target))

        async def append(events: Sequence[audit_pb2.AuditEvent]) -> None:
            await stub.AppendAuditEvents(audit_service_pb2.AppendAuditEventsRequest(events=events))

        if self._audit is not None:
            self.spawn("audit relay", partial(self._audit.relay, append))

    def spawn(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` in the background until the process stops; when it raises, again with backoff."""
        task = asyncio.get_running_loop().create_task(_keep_running(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def serve(self, services: dict[ServiceDescriptor, object]) -> None:
        """Serve ``services`` (descriptor: servicer) until SIGTERM or SIGINT, then drain.

        Draining: health says NOT_SERVING, balancers turn away, streams end with their resume tokens, calls in progress
        finish, background work stops; what was opened before is closed by its owner, in reverse order.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        draining = self.health.part("draining")
        server = build_server(services, self._stages, self.health, connection_seconds=self._settings.connection_seconds)
        port = listen(server, f"{self._settings.host}:{self._settings.port}", self._files)
        await server.start()
        draining.ok()
        _log.info("serving", extra={"port": port})
        await self.stopping.wait()
        _log.info("draining")
        draining.failed("the process is stopping")
        await asyncio.sleep(self._settings.drain_notice_seconds)
        self._stages.drain_streams()
        await server.stop(self._settings.drain_seconds)
        await self._cancel_background_work()
        _log.info("stopped")

    async def _cancel_background_work(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def open_runtime(
    name: str, settings: ServiceSettings, audit: SqlAuditLog | None = None
) -> AsyncIterator[Runtime]:
    """Logging, telemetry and identity of the service ``name``, whose audited calls are recorded in ``audit``."""
    runtime_logging.configure(name, settings.log_level)
    async with AsyncExitStack() as stack:
        tracing = Tracing.to(settings.otlp_endpoint, name, settings.trace_sample_ratio)
        stack.callback(tracing.close)
        if settings.metrics_port:
            serve_metrics(settings.host, settings.metrics_port)
        runtime = Runtime(name, settings, tracing, stack, audit)
        try:
            yield runtime
        finally:
            await runtime._cancel_background_work()


def _in_a_line(error: Exception) -> str:
    text = f"{error.code().name}: {error.details()}" if isinstance(error, grpc.aio.AioRpcError) else str(error)
    return f"{type(error).__name__}: {text}"


async def _keep_running(name: str, work: Callable[[], Awaitable[None]]) -> None:
    failures = 0
    while True:
        started = asyncio.get_running_loop().time()
        try:
            await work()
        except (grpc.aio.AioRpcError, MeshError, OSError) as error:
            # Somebody is away, as at every start: no reason for a traceback.
            _log.warning("background work is interrupted", extra={"work": name, "problem": _in_a_line(error)})
        except Exception:  # noqa: BLE001 - logged, and tried again, whatever it is
            _log.exception("background work failed", extra={"work": name})
        else:
            return
        lasted = asyncio.get_running_loop().time() - started
        failures = 0 if lasted > 30 else failures + 1
        await asyncio.sleep(min(5.0, 0.1 * 2**failures))
