"""Traces by OpenTelemetry and metrics for Prometheus.

A span is made only for a call that is sampled: by its caller's ``traceparent`` header, or else by ratio. So an
unsampled call pays for one look into its metadata and one random number.
"""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from prometheus_client import REGISTRY as PROCESS_REGISTRY
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

_log = logging.getLogger(__name__)

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """The metrics of the calls that a process serves."""

    def __init__(self, registry: CollectorRegistry = PROCESS_REGISTRY) -> None:
        self.handled = Counter(
            "grpc_server_handled",
            "Calls that ended, by method and status.",
            ["grpc_method", "grpc_code"],
            registry=registry,
        )
        self.seconds = Histogram(
            "grpc_server_handling_seconds",
            "How long unary calls took.",
            ["grpc_method"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.running = Gauge("grpc_server_running", "Calls in progress, by method.", ["grpc_method"], registry=registry)


def serve_metrics(host: str, port: int) -> None:
    """Serve this process's metrics for Prometheus at ``http://host:port/metrics``."""
    start_http_server(port, host)
    _log.info("metrics are served", extra={"port": port})


class Tracing:
    """Decides which calls are traced, and makes their spans."""

    def __init__(self, service: str, exporter: SpanExporter | None, ratio: float) -> None:
        self._ratio = ratio if exporter is not None else 0.0
        self._enabled = exporter is not None
        # Sampled already when a span is made, so the SDK itself samples all.
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource.create({"service.name": service}))
        if exporter is not None:
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("levimesh.runtime")

    @classmethod
    def to(cls, endpoint: str | None, service: str, ratio: float) -> "Tracing":
        """Send spans by OTLP over gRPC to ``endpoint``, or make none when it is None."""
        exporter = OTLPSpanExporter(endpoint, insecure=endpoint.startswith("http://")) if endpoint else None
        return cls(service, exporter, ratio)

    def sampled(self, traceparent: str | None) -> bool:
        """Whether a call with this W3C ``traceparent`` header (or none) is traced."""
        if not self._enabled:
            return False
        if traceparent is None:
            return random.random() < self._ratio  # noqa: S311 - choosing calls to trace needs no secrecy
        return traceparent[-1:] in "13579bdf"

    @contextmanager
    def span(self, method: str, traceparent: str | None) -> Iterator[trace.Span]:
        """A server span for a sampled call, the child of its caller's."""
        parent = propagate.extract({"traceparent": traceparent}) if traceparent else None
        attributes = {"rpc.system": "grpc", "rpc.method": method.lstrip("/")}
        with self._tracer.start_as_current_span(method.lstrip("/"), parent, trace.SpanKind.SERVER, attributes) as span:
            yield span

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def outgoing_headers() -> list[tuple[str, str]]:
    """The trace headers for a call made inside a span; empty outside of one."""
    if not trace.get_current_span().get_span_context().is_valid:
        return []
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return list(carrier.items())
