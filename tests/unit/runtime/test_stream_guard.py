"""How many streams a caller may have open, and what becomes of those that nobody reads, over mTLS."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc.aio import AioRpcError

from levimesh.prediction.v1 import prediction_service_pb2 as pb
from levimesh.prediction.v1 import prediction_service_pb2_grpc as pb_grpc
from services.runtime.stream_guard import cut_when_stalled
from tests.gateway import Calls, recording
from tests.marketdata import until
from tests.mesh import Served, a_token, bearing, ending_of, error_info, serving

SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"]
METHOD = "/levimesh.prediction.v1.PredictionService/StreamSignals"
LIMIT = 20
VIEWER = bearing(a_token("ROLE_VIEWER"))
OTHER = bearing(a_token("ROLE_VIEWER", user_id="6f1c1f0e-0000-4000-8000-000000000002"))
ELEVATED = bearing(a_token("ROLE_VIEWER", user_id="6f1c1f0e-0000-4000-8000-000000000003", tier="elevated"))
ELSEWHERE = (*VIEWER, ("x-levimesh-address", "192.0.2.7"))
STALL_SECONDS = 0.4


class Signals:
    """A stream that says one thing, or things without end."""

    def __init__(self) -> None:
        self.endless = False
        self.is_behind: Callable[[], bool] = lambda: True
        self.fails = False

    async def stream(self, _: pb.StreamSignalsRequest) -> AsyncIterator[pb.StreamSignalsResponse]:
        cut_when_stalled(lambda: self.is_behind())  # noqa: PLW0108 - a test changes it
        yield pb.StreamSignalsResponse(resume_token="1-1")
        if self.fails:
            raise RuntimeError
        while self.endless:
            yield pb.StreamSignalsResponse(resume_token="x" * 100_000)
        await asyncio.Event().wait()


@pytest.fixture
def signals() -> Signals:
    return Signals()


@pytest.fixture
async def served(certificates: Path, signals: Signals) -> AsyncIterator[Served]:
    servicer = recording(SERVICE, Calls(), {"StreamSignals": signals.stream})
    async with serving(
        {SERVICE: servicer}, certificates, workload="prediction", stalled_seconds=STALL_SECONDS
    ) as served:
        yield served


@pytest.fixture
def stub(served: Served) -> Any:
    return pb_grpc.PredictionServiceStub(served.channel(SERVICE))


async def opened(stub: Any, metadata: tuple[tuple[str, str], ...] = VIEWER) -> Any:
    """A stream whose first message has come."""
    call = stub.StreamSignals(pb.StreamSignalsRequest(), metadata=metadata)
    await call.read()
    return call


async def is_refused(stub: Any, metadata: tuple[tuple[str, str], ...] = VIEWER) -> bool:
    """Whether another stream would be too many."""
    try:
        (await opened(stub, metadata)).cancel()
    except AioRpcError as error:
        return bool(error_info(error).reason == "ERROR_REASON_TOO_MANY_STREAMS")
    return False


def running(served: Served) -> float:
    return served.registry.get_sample_value("grpc_server_running", {"grpc_method": METHOD}) or 0


async def test_a_caller_has_as_many_streams_as_the_policy_says(served: Served, stub: Any) -> None:
    streams = [await opened(stub) for _ in range(LIMIT)]
    assert await is_refused(stub)
    assert not await is_refused(stub, OTHER)
    assert not await is_refused(stub, ELSEWHERE)

    streams.pop().cancel()

    async def is_let_in() -> bool:
        return not await is_refused(stub)

    await until(is_let_in)
    for stream in streams:
        stream.cancel()


async def test_a_caller_of_the_tier_elevated_has_ten_times_as_many(served: Served, stub: Any) -> None:
    streams = [await opened(stub, ELEVATED) for _ in range(10 * LIMIT)]
    assert await is_refused(stub, ELEVATED)
    for stream in streams:
        stream.cancel()


async def test_workloads_that_call_for_themselves_are_not_limited(served: Served) -> None:
    stub = pb_grpc.PredictionServiceStub(served.channel(SERVICE, caller="trading"))
    streams = [await opened(stub, ()) for _ in range(LIMIT + 5)]
    for stream in streams:
        stream.cancel()


async def test_a_stream_that_fails_is_counted_no_more(served: Served, stub: Any, signals: Signals) -> None:
    signals.fails = True
    for _ in range(LIMIT + 1):
        call = await opened(stub)
        assert (await ending_of(call))[0] is grpc.StatusCode.INTERNAL


async def test_a_client_that_vanishes_is_noticed(served: Served, certificates: Path) -> None:
    channel = served.channel(SERVICE)
    streams = [await opened(pb_grpc.PredictionServiceStub(channel)) for _ in range(LIMIT)]
    assert running(served) == LIMIT
    await channel.close()

    async def is_noticed() -> bool:
        return running(served) == 0

    await until(is_noticed)
    assert not await is_refused(pb_grpc.PredictionServiceStub(served.channel(SERVICE)))
    del streams


async def test_a_reader_that_takes_nothing_is_cut_and_counted_no_more(
    served: Served, stub: Any, signals: Signals
) -> None:
    signals.endless = True
    call = await opened(stub)

    async def is_cut() -> bool:
        return running(served) == 0

    await until(is_cut)
    assert await ending_of(call) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_SLOW_READER")


async def test_a_reader_that_misses_nothing_by_waiting_is_not_cut(served: Served, stub: Any, signals: Signals) -> None:
    signals.endless, signals.is_behind = True, lambda: False
    call = await opened(stub)
    looked = asyncio.Event()

    def is_behind() -> bool:
        looked.set()
        return False

    signals.is_behind = is_behind
    async with asyncio.timeout(10):
        await looked.wait()
    assert running(served) == 1
    assert (await call.read()).resume_token
    call.cancel()


async def test_a_reader_is_not_cut_because_the_server_itself_was_held_up(signals: Signals, stub: Any) -> None:
    signals.endless = True
    call = await opened(stub)
    # The reader pauses for less than it may, so that a message waits; then the machine has no time for the server.
    await asyncio.sleep(STALL_SECONDS / 4)
    time.sleep(2 * STALL_SECONDS)  # noqa: ASYNC251 - the loop is to stand still
    for _ in range(200):
        assert await call.read() is not grpc.aio.EOF
    call.cancel()
