"""Streams that go on after an interruption, against a server that dies and returns."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.rpc import status_pb2

from levimesh.client import Client
from levimesh.client.streams import resume
from levimesh.common.v1 import streaming_pb2
from levimesh.prediction.v1 import prediction_pb2
from levimesh.prediction.v1 import prediction_service_pb2 as pb
from services.runtime.errors import InvalidArgument
from tests.edge import Aborted, Edge, a_refusal

BEAT = pb.StreamSignalsResponse(heartbeat=streaming_pb2.Heartbeat())


class ResumeTokenInvalid(InvalidArgument):
    reason = "RESUME_TOKEN_INVALID"


def signals(first: int, last: int) -> pb.StreamSignalsResponse:
    """A message with the signals from ``first`` to ``last``; its token is the number of the last."""
    batch = [
        prediction_pb2.Signal(prediction=prediction_pb2.Prediction(prediction_id=str(number)))
        for number in range(first, last + 1)
    ]
    return pb.StreamSignalsResponse(signals=prediction_pb2.SignalBatch(signals=batch), resume_token=str(last))


def numbered(token: str) -> Iterator[pb.StreamSignalsResponse]:
    """Signals two at a time, for ever, beginning behind ``token``."""
    seen = int(token or 0)
    while True:
        yield signals(seen + 1, seen + 2)
        seen += 2


@dataclass
class Waits:
    """Stands for sleeping: notes how long, and then does what the test wants to happen meanwhile."""

    meanwhile: Callable[[], None] = lambda: None
    seconds: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.to_thread(self.meanwhile)


@pytest_asyncio.fixture
async def mesh(edge: Edge) -> AsyncIterator[Client]:
    async with Client.connect(edge.profile) as client:
        yield client


def opener(mesh: Client) -> Callable[[str], Any]:
    return lambda token: mesh.prediction.StreamSignals(pb.StreamSignalsRequest(resume_token=token))


def ids(message: pb.StreamSignalsResponse) -> list[int]:
    return [int(signal.prediction.prediction_id) for signal in message.signals.signals]


async def read(messages: AsyncGenerator[Any, None], count: int) -> list[Any]:
    """The first ``count`` messages, and then the stream is closed."""
    found = []
    async with aclosing(messages), asyncio.timeout(30):
        async for message in messages:
            found.append(message)
            if len(found) == count:
                break
    return found


async def test_nothing_is_lost_or_doubled_when_the_server_dies_and_returns(edge: Edge, mesh: Client) -> None:
    def five_messages(request: pb.StreamSignalsRequest) -> Iterator[Any]:
        yield from islice(numbered(request.resume_token), 5)
        edge.stopped.wait()

    edge.answers["StreamSignals"] = five_messages
    seen: list[int] = []

    async with aclosing(resume(opener(mesh), sleep=Waits(edge.start).sleep)) as messages, asyncio.timeout(30):
        async for message in messages:
            seen += ids(message)
            if len(seen) % 10 == 0:
                await asyncio.to_thread(edge.stop)
            if len(seen) == 30:
                break

    assert seen == list(range(1, 31))
    assert [call.request.resume_token for call in edge.called("StreamSignals")] == ["", "10", "20"]


async def test_a_stream_that_ends_is_opened_again(edge: Edge, mesh: Client) -> None:
    edge.answers["StreamSignals"] = lambda request: islice(numbered(request.resume_token), 1)

    messages = await read(resume(opener(mesh), sleep=Waits().sleep), 3)

    assert [ids(message) for message in messages] == [[1, 2], [3, 4], [5, 6]]


async def test_gaps_and_heartbeats_are_shown_and_move_the_token(edge: Edge, mesh: Client) -> None:
    gap = streaming_pb2.Gap(cause=streaming_pb2.GAP_CAUSE_RETENTION)
    answers = iter([[signals(1, 1), pb.StreamSignalsResponse(gap=gap, resume_token="50")], [signals(51, 51)]])
    edge.answers["StreamSignals"] = lambda _: next(answers)

    messages = await read(resume(opener(mesh), sleep=Waits().sleep, resume_token="0"), 3)

    assert [message.WhichOneof("event") for message in messages] == ["signals", "gap", "signals"]
    assert [call.request.resume_token for call in edge.called("StreamSignals")] == ["0", "50"]


async def test_the_announcement_of_an_end_is_not_shown_and_its_status_decides(edge: Edge, mesh: Client) -> None:
    def ending(request: pb.StreamSignalsRequest) -> Iterator[Any]:
        yield signals(1, 1)
        yield pb.StreamSignalsResponse(end=status_pb2.Status(code=3))
        raise ResumeTokenInvalid("resume_token is not one that this stream gave out")

    edge.answers["StreamSignals"] = ending
    messages = resume(opener(mesh), sleep=Waits().sleep)

    assert ids(await anext(messages)) == [1]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await anext(messages)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_silent_stream_is_opened_again(edge: Edge, mesh: Client) -> None:
    def falling_silent(request: pb.StreamSignalsRequest) -> Iterator[Any]:
        yield signals(int(request.resume_token or 0) + 1, int(request.resume_token or 0) + 1)
        edge.stopped.wait()

    edge.answers["StreamSignals"] = falling_silent

    messages = await read(resume(opener(mesh), silence=0.2, sleep=Waits().sleep), 2)

    assert [ids(message) for message in messages] == [[1], [2]]


async def test_a_call_that_the_server_cancels_is_an_interruption_like_others(edge: Edge, mesh: Client) -> None:
    def cancelled(request: pb.StreamSignalsRequest) -> Iterator[Any]:
        yield from islice(numbered(request.resume_token), 1)
        raise Aborted(grpc.StatusCode.CANCELLED)

    edge.answers["StreamSignals"] = cancelled

    messages = await read(resume(opener(mesh), sleep=Waits().sleep), 2)

    assert [ids(message) for message in messages] == [[1, 2], [3, 4]]


async def test_a_reader_that_is_cancelled_ends_its_call(edge: Edge, mesh: Client) -> None:
    reached = threading.Event()

    def waiting(request: pb.StreamSignalsRequest) -> Iterator[Any]:
        yield BEAT
        reached.set()
        edge.stopped.wait()

    edge.answers["StreamSignals"] = waiting
    reader = asyncio.create_task(read(resume(opener(mesh)), 2))
    await asyncio.to_thread(reached.wait, 10)

    reader.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await asyncio.to_thread(edge.called("StreamSignals")[0].ended.wait, 10)


async def test_a_reader_that_leaves_ends_its_call(edge: Edge, mesh: Client) -> None:
    def waiting(request: pb.StreamSignalsRequest) -> Iterator[Any]:
        yield signals(1, 1)
        edge.stopped.wait()

    edge.answers["StreamSignals"] = waiting

    async with aclosing(mesh.signals()) as following:
        await anext(following)

    assert await asyncio.to_thread(edge.called("StreamSignals")[0].ended.wait, 10)


async def test_the_waits_grow_to_five_seconds_however_long_an_outage_lasts(edge: Edge, mesh: Client) -> None:
    edge.stop()
    waits = Waits()

    async def wait(seconds: float) -> None:
        waits.seconds.append(seconds)
        if len(waits.seconds) == 1100:
            raise TimeoutError("long enough")

    with pytest.raises(TimeoutError, match="long enough"):
        await read(resume(opener(mesh), sleep=wait, chance=lambda: 1.0), 1)

    assert waits.seconds[:8] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert waits.seconds[-1] == 5.0


async def test_waits_are_short_again_after_news_and_not_after_a_greeting(edge: Edge, mesh: Client) -> None:
    answers = iter([[BEAT], [BEAT], [BEAT], [signals(1, 1)], [BEAT, BEAT], [BEAT]])
    edge.answers["StreamSignals"] = lambda _: next(answers)
    waits = Waits()

    await read(resume(opener(mesh), sleep=waits.sleep, chance=lambda: 1.0), 7)

    assert waits.seconds == [0.1, 0.2, 0.4, 0.1, 0.1]


async def test_a_stream_that_is_opened_too_often_waits_as_long_as_the_mesh_says(edge: Edge, mesh: Client) -> None:
    def answer(_: Any) -> Iterator[Any]:
        if len(edge.called("StreamSignals")) == 1:
            raise a_refusal("RESOURCE_EXHAUSTED", "RATE_LIMITED", "too many calls", 30.0)
        yield signals(1, 1)

    edge.answers["StreamSignals"] = answer
    waits = Waits()

    await read(resume(opener(mesh), sleep=waits.sleep), 1)

    assert waits.seconds == [30.0]


@pytest.mark.parametrize("refusal", [ResumeTokenInvalid("no"), Aborted(grpc.StatusCode.PERMISSION_DENIED)])
async def test_what_a_repetition_cannot_heal_is_raised(edge: Edge, mesh: Client, refusal: Exception) -> None:
    def refused(request: pb.StreamSignalsRequest) -> Iterator[Any]:
        raise refusal
        yield

    edge.answers["StreamSignals"] = refused

    with pytest.raises(grpc.aio.AioRpcError):
        await read(resume(opener(mesh), sleep=Waits().sleep), 1)

    assert len(edge.called("StreamSignals")) == 1


async def test_a_stream_whose_token_is_refused_when_it_is_opened_again_goes_on_with_a_new_one(
    edge: Edge, mesh: Client
) -> None:
    def once(request: pb.StreamSignalsRequest) -> Iterator[Any]:
        yield from islice(numbered(request.resume_token), 1)
        edge.expired.add("token-1")

    edge.answers["StreamSignals"] = once
    seen = []

    async with aclosing(mesh.signals()) as following, asyncio.timeout(30):
        async for signal in following:
            seen.append(int(signal.prediction.prediction_id))
            if len(seen) == 4:
                break

    assert seen == [1, 2, 3, 4]
    assert [call.token for call in edge.called("StreamSignals")] == ["token-1", "token-1", "token-2"]


async def test_a_stream_whose_new_token_is_refused_too_gives_up(edge: Edge, mesh: Client) -> None:
    edge.expired |= {"token-1", "token-2", "token-3"}

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await anext(mesh.signals())

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert len(edge.issued) == 2


async def test_a_client_tells_of_gaps(edge: Edge, mesh: Client, caplog: pytest.LogCaptureFixture) -> None:
    gap = pb.StreamSignalsResponse(gap=streaming_pb2.Gap(cause=streaming_pb2.GAP_CAUSE_RETENTION))
    edge.answers["StreamSignals"] = lambda _: [gap, signals(1, 1)]
    gaps: list[streaming_pb2.Gap] = []

    async with aclosing(mesh.signals(on_gap=gaps.append)) as told, aclosing(mesh.signals()) as logged:
        await anext(told)
        await anext(logged)

    assert [each.cause for each in gaps] == [streaming_pb2.GAP_CAUSE_RETENTION]
    assert [record.getMessage() for record in caplog.records] == [
        "a stream has lost messages (retention); the current state has to be fetched"
    ]
