"""What a real server does with calls, over mTLS."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc as pb_grpc
from levimesh.marketdata.v1 import stream_pb2
from services.runtime.deadlines import seconds_left
from services.runtime.errors import NotFound
from services.runtime.identity import Caller, current_caller
from services.runtime.policy import PolicyError
from services.runtime.server import build_server
from tests.mesh import Served, a_token, bearing, details_of, ending_of, error_info, files_of, serving

SERVICE = pb.DESCRIPTOR.services_by_name["MarketDataService"]
A_REQUEST = pb.GetTickerRequest(symbol="BTC-USDT@simex")
TRADER = bearing(a_token("ROLE_TRADER"))


async def nothing() -> pb.GetTickerResponse:
    return pb.GetTickerResponse()


class SymbolNotFound(NotFound):
    reason = "SYMBOL_NOT_FOUND"


class Market(pb_grpc.MarketDataServiceServicer):
    """Does in GetTicker and StreamTrades what a test wants."""

    def __init__(self) -> None:
        self.answer: Callable[[], Any] = nothing
        self.stream: Callable[[], AsyncIterator[pb.StreamTradesResponse]] = self.endless
        self.reached = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.asked: list[pb.MarketDataStreamRequest] = []

    async def GetTicker(self, request: pb.GetTickerRequest, context: Any) -> pb.GetTickerResponse:
        self.reached.set()
        answer: pb.GetTickerResponse = await self.answer()
        return answer

    async def StreamTrades(self, request: Any, context: Any) -> AsyncIterator[pb.StreamTradesResponse]:
        async for response in self.stream():
            yield response

    async def endless(self) -> AsyncIterator[pb.StreamTradesResponse]:
        yield pb.StreamTradesResponse(resume_token="1-1")
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()

    async def _not_called(self, request: Any, context: Any) -> Any:
        raise AssertionError

    ListSymbols = GetCandles = ListBackfills = ListTrades = BatchGetTickers = _not_called
    GetIndicators = ConvertPrice = _not_called

    async def _not_streamed(self, request: Any, context: Any) -> AsyncIterator[Any]:
        raise AssertionError
        yield

    StreamCandles = StreamMarketData = _not_streamed

    async def MarketDataStream(self, requests: Any, context: Any) -> AsyncIterator[pb.MarketDataStreamResponse]:
        async for request in requests:
            self.asked.append(request)
            results = stream_pb2.SubscriptionResults(request_id=request.request_id)
            yield pb.MarketDataStreamResponse(results=results)


@pytest.fixture
def market() -> Market:
    return Market()


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
async def served(market: Market, certificates: Path, spans: InMemorySpanExporter) -> AsyncIterator[Served]:
    async with serving({SERVICE: market}, certificates, workload="marketdata", exporter=spans) as served:
        yield served


@pytest.fixture
def stub(served: Served) -> Any:
    return pb_grpc.MarketDataServiceStub(served.channel(SERVICE))


def handled(served: Served, code: str) -> float:
    labels = {"grpc_method": "/levimesh.marketdata.v1.MarketDataService/GetTicker", "grpc_code": code}
    return served.registry.get_sample_value("grpc_server_handled_total", labels) or 0


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    error: grpc.aio.AioRpcError = refused.value
    return error


async def test_a_handler_knows_who_calls(stub: Any, market: Market) -> None:
    seen: list[Caller] = []

    async def answer() -> pb.GetTickerResponse:
        seen.append(current_caller())
        return pb.GetTickerResponse()

    market.answer = answer
    await stub.GetTicker(A_REQUEST, metadata=TRADER)
    assert seen[0].workload == "gateway"
    assert seen[0].user is not None
    assert seen[0].user.roles == {"ROLE_TRADER"}


async def test_a_workload_that_is_not_named_is_refused(served: Served, market: Market) -> None:
    stranger: Any = pb_grpc.MarketDataServiceStub(served.channel(SERVICE, caller="auth"))
    error = await refusal(stranger.GetTicker(A_REQUEST, metadata=TRADER))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error_info(error).reason == "ERROR_REASON_CALLER_NOT_ALLOWED"
    assert not market.reached.is_set()


async def test_nobody_connects_without_a_certificate_of_the_mesh(served: Served, certificates: Path) -> None:
    trust = (certificates / "ca.pem").read_bytes()
    options = [("grpc.ssl_target_name_override", "marketdata")]
    async with grpc.aio.secure_channel(served.target, grpc.ssl_channel_credentials(trust), options=options) as channel:
        stub: Any = pb_grpc.MarketDataServiceStub(channel)
        error = await refusal(stub.GetTicker(A_REQUEST, metadata=TRADER, timeout=5))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_every_violated_field_is_named(stub: Any) -> None:
    error = await refusal(stub.GetCandles(pb.GetCandlesRequest(symbol="btc", page_size=-1), metadata=TRADER))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    named = {violation.field for violation in details_of(error, error_details_pb2.BadRequest).field_violations}
    assert named == {"symbol", "interval", "page_size"}


async def test_a_domain_error_arrives_with_its_reason(stub: Any, market: Market) -> None:
    async def unknown() -> None:
        raise SymbolNotFound("symbol XRP is not known", symbol="XRP")

    market.answer = unknown
    error = await refusal(stub.GetTicker(A_REQUEST, metadata=TRADER))
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "symbol XRP is not known")
    assert error_info(error).reason == "ERROR_REASON_SYMBOL_NOT_FOUND"
    assert dict(error_info(error).metadata) == {"symbol": "XRP"}


async def test_an_unexpected_error_tells_nothing_but_the_trace(
    stub: Any, market: Market, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> None:
        raise RuntimeError("the password is hunter2")

    market.answer = broken
    error = await refusal(stub.GetTicker(A_REQUEST, metadata=TRADER))
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "internal error")
    assert len(error_info(error).metadata["trace_id"]) == 32
    assert "the password is hunter2" in caplog.text


async def test_a_call_ends_at_the_deadline_of_the_policy(stub: Any, market: Market) -> None:
    left: list[float | None] = []

    async def answer() -> pb.GetTickerResponse:
        left.append(seconds_left())
        return pb.GetTickerResponse()

    market.answer = answer
    await stub.GetTicker(A_REQUEST, metadata=TRADER, timeout=60)
    await stub.GetTicker(A_REQUEST, metadata=TRADER, timeout=1)
    assert left[0] is not None
    assert 1 < left[0] <= 2
    assert left[1] is not None
    assert 0 < left[1] < 1.1  # gRPC rounds it up on the wire


async def test_a_handler_that_takes_too_long_is_cancelled(served: Served, certificates: Path, market: Market) -> None:
    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            market.cancelled.set()

    market.answer = slow
    # A channel that sets no deadline of its own.
    options = [("grpc.ssl_target_name_override", "marketdata")]
    credentials = files_of(certificates, "gateway").channel_credentials()
    async with grpc.aio.secure_channel(served.target, credentials, options=options) as channel:
        stub: Any = pb_grpc.MarketDataServiceStub(channel)
        error = await refusal(stub.GetTicker(A_REQUEST, metadata=TRADER))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert error_info(error).reason == "ERROR_REASON_DEADLINE_EXCEEDED"
    assert market.cancelled.is_set()


async def test_calls_and_their_outcomes_are_counted(served: Served, stub: Any) -> None:
    await stub.GetTicker(A_REQUEST, metadata=TRADER)
    await refusal(stub.GetTicker(A_REQUEST))
    assert (handled(served, "OK"), handled(served, "UNAUTHENTICATED")) == (1, 1)


async def test_a_sampled_call_makes_a_span_under_its_callers(
    stub: Any, served: Served, spans: InMemorySpanExporter
) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    sampled = ("traceparent", f"00-{trace}-00f067aa0ba902b7-01")
    unsampled = ("traceparent", f"00-{trace}-00f067aa0ba902b7-00")
    await stub.GetTicker(A_REQUEST, metadata=(*TRADER, sampled))
    await stub.GetTicker(A_REQUEST, metadata=(*TRADER, unsampled))
    served.stages.tracing.close()
    (span,) = spans.get_finished_spans()
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == trace


async def test_too_many_calls_at_once_are_shed_with_a_reason(market: Market, certificates: Path) -> None:
    release = asyncio.Event()

    async def wait() -> pb.GetTickerResponse:
        await release.wait()
        return pb.GetTickerResponse()

    market.answer = wait
    async with serving({SERVICE: market}, certificates, workload="marketdata", max_concurrent_calls=1) as served:
        stub: Any = pb_grpc.MarketDataServiceStub(served.channel(SERVICE))
        first = asyncio.ensure_future(stub.GetTicker(A_REQUEST, metadata=TRADER))
        async with asyncio.timeout(5):
            await market.reached.wait()
        error = await refusal(stub.GetTicker(A_REQUEST, metadata=TRADER))
        release.set()
        await first
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details_of(error, error_details_pb2.RetryInfo).retry_delay.seconds == 1


async def test_streams_beyond_the_limit_are_refused_and_keep_no_call_out(certificates: Path, market: Market) -> None:
    async with serving({SERVICE: market}, certificates, workload="marketdata", max_concurrent_calls=1) as served:
        stub: Any = pb_grpc.MarketDataServiceStub(served.channel(SERVICE))
        first = stub.StreamTrades(pb.StreamTradesRequest(), metadata=TRADER)
        await anext(aiter(first))

        second = stub.StreamTrades(pb.StreamTradesRequest(), metadata=TRADER)
        async with asyncio.timeout(5):
            error = await refusal(anext(aiter(second)))

        assert error_info(error).reason == "ERROR_REASON_OVERLOADED"
        await stub.GetTicker(A_REQUEST, metadata=TRADER)


async def test_draining_ends_a_stream_in_band_and_by_status(served: Served, stub: Any, market: Market) -> None:
    call = stub.StreamTrades(pb.StreamTradesRequest(), metadata=TRADER)
    messages = aiter(call)
    assert (await anext(messages)).resume_token == "1-1"
    served.stages.drain_streams()
    assert (await anext(messages)).end.code == grpc.StatusCode.UNAVAILABLE.value[0]
    error = await refusal(anext(messages))
    assert error_info(error).reason == "ERROR_REASON_SHUTTING_DOWN"
    assert market.cancelled.is_set()


async def test_a_stream_that_its_reader_leaves_is_ended(stub: Any, market: Market) -> None:
    call = stub.StreamTrades(pb.StreamTradesRequest(), metadata=TRADER)
    await anext(aiter(call))
    call.cancel()
    async with asyncio.timeout(5):
        await market.cancelled.wait()


async def test_each_request_of_a_stream_keeps_the_rules_of_the_contract(stub: Any, market: Market) -> None:
    call = stub.MarketDataStream(metadata=TRADER)
    sound = pb.MarketDataStreamRequest(request_id="1", list_subscriptions=pb.ListSubscriptions())
    await call.write(sound)
    assert (await call.read()).results.request_id == "1"
    await call.write(pb.MarketDataStreamRequest(request_id="2"))
    assert (await call.read()).end.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert await ending_of(call) == (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_FIELD_VIOLATION")
    assert market.asked == [sound]


async def test_a_stream_of_requests_is_let_in_before_anything_is_read_of_it(stub: Any, market: Market) -> None:
    assert await ending_of(stub.MarketDataStream()) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "ERROR_REASON_TOKEN_MISSING",
    )
    assert market.asked == []


async def test_health_holds_only_while_every_part_does(served: Served) -> None:
    database = served.health.part("database")
    stub: Any = health_pb2_grpc.HealthStub(served.channel(SERVICE))
    watching = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE.full_name))
    states = aiter(watching)
    seen = [(await anext(states)).status]
    for change in (database.ok, lambda: database.failed("away")):
        change()
        seen.append((await anext(states)).status)
    watching.cancel()
    serving_, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert seen[-2:] == [serving_, not_serving]


def test_a_server_with_an_unimplemented_method_does_not_start(served: Served) -> None:
    with pytest.raises(
        PolicyError, match=r"does not implement levimesh\.marketdata\.v1\.MarketDataService\.ListSymbols"
    ):
        build_server({SERVICE: object()}, served.stages, served.health)
