"""Spans of the gateway, and that the services join them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc

from gateway.contracts import SERVICES
from tests.gateway import Calls, recorders, running_gateway
from tests.mesh import a_token

WITHIN = 15.0
TRADER = {"authorization": f"Bearer {a_token('ROLE_TRADER')}"}
A_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
WANTED = f"00-{A_TRACE}-00f067aa0ba902b7-01"


class Collector(pb_grpc.TraceServiceServicer):
    """Takes spans and keeps the ids of their traces."""

    def __init__(self) -> None:
        self.traces: asyncio.Queue[str] = asyncio.Queue()

    async def Export(self, request: pb.ExportTraceServiceRequest, context: Any) -> pb.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.traces.put_nowait(span.trace_id.hex())
        return pb.ExportTraceServiceResponse()


@asynccontextmanager
async def collecting() -> AsyncIterator[tuple[Collector, str]]:
    server, collector = grpc.aio.server(), Collector()
    pb_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]  # generated without types
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        await server.stop(0)


@asynccontextmanager
async def calling(certificates: Path, **settings: Any) -> AsyncIterator[Callable[[], Awaitable[str | None]]]:
    """Gives a function that makes a call which its client wants traced, and returns the header that the service got."""
    calls = Calls()
    async with (
        recorders(certificates, calls, *SERVICES) as servers,
        running_gateway(
            certificates, {workload: (served.target,) for workload, served in servers.items()}, **settings
        ) as gateway,
    ):

        async def call() -> str | None:
            async with gateway.http.get("/v1/symbols", headers=TRADER | {"traceparent": WANTED}) as response:
                assert response.status == 200
            return calls.headers.get("traceparent")

        yield call


async def test_the_spans_of_the_gateway_and_of_the_service_join_those_of_the_client(certificates: Path) -> None:
    async with (
        collecting() as (collector, endpoint),
        calling(certificates, otlp_endpoint=endpoint, trace_sample_ratio=1.0) as call,
    ):
        # Envoy sends spans when it has five. Those of earlier requests come first.
        arrived = [await call() for _ in range(5)]
        async with asyncio.timeout(WITHIN):
            while await collector.traces.get() != A_TRACE:
                pass

    assert all(header and header.startswith(f"00-{A_TRACE}-") and header.endswith("-01") for header in arrived)
    assert WANTED not in arrived, "the parent of the service's span is the gateway's"


async def test_a_client_cannot_make_the_mesh_trace_its_calls(certificates: Path) -> None:
    async with (
        collecting() as (_, endpoint),
        calling(certificates, otlp_endpoint=endpoint, trace_sample_ratio=0.0) as call,
    ):
        unsampled = await call()
    async with calling(certificates) as call:
        untraced = await call()

    assert unsampled is not None
    assert unsampled.endswith("-00")
    assert untraced is None
