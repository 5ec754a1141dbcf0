"""Streams through the gateway: each message at once, in the form that the client asked for, until somebody leaves."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from gateway.contracts import SERVICES
from levimesh.prediction.v1 import prediction_service_pb2 as pb
from levimesh.prediction.v1 import prediction_service_pb2_grpc as pb_grpc
from services.runtime.errors import SlowReaderCut
from tests.gateway import Calls, Gateway, recorders, running_gateway
from tests.mesh import a_token, bearing

pytestmark = pytest.mark.asyncio(loop_scope="module")

WITHIN = 5.0
TOKEN = a_token("ROLE_VIEWER")
VIEWER = {"authorization": f"Bearer {TOKEN}"}


@dataclass
class Script:
    """What the stream says, when it is told to."""

    says: asyncio.Queue[str | Exception] = field(default_factory=asyncio.Queue)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def stream_signals(self, _: pb.StreamSignalsRequest) -> AsyncIterator[pb.StreamSignalsResponse]:
        says = self.says
        try:
            while True:
                word = await says.get()
                if isinstance(word, Exception):
                    raise word
                yield pb.StreamSignalsResponse(resume_token=word)
        finally:
            self.left.set()


@pytest_asyncio.fixture(loop_scope="module")
async def script(gateway_and_script: tuple[Gateway, Script]) -> Script:
    script = gateway_and_script[1]
    script.says, script.left = asyncio.Queue(), asyncio.Event()
    return script


@pytest.fixture
def gateway(gateway_and_script: tuple[Gateway, Script]) -> Gateway:
    return gateway_and_script[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway_and_script(certificates: Path) -> AsyncIterator[tuple[Gateway, Script]]:
    script = Script()
    async with recorders(certificates, Calls(), *SERVICES, StreamSignals=script.stream_signals) as servers:
        endpoints = {workload: (served.target,) for workload, served in servers.items()}
        async with running_gateway(certificates, endpoints) as running:
            yield running, script


@pytest.mark.parametrize(
    ("accept", "kind", "before", "after"),
    [
        ("*/*", "application/json", b"", b"\n"),
        ("application/json", "application/json", b"", b"\n"),
        ("text/event-stream", "text/event-stream", b"data: ", b"\n\n"),
    ],
)
async def test_each_message_arrives_before_the_next_is_made(
    gateway: Gateway, script: Script, accept: str, kind: str, before: bytes, after: bytes
) -> None:
    await script.says.put("1")
    async with gateway.http.get("/v1/signals:stream", headers={**VIEWER, "accept": accept}) as response:
        for token in ("1", "2", "3"):
            async with asyncio.timeout(WITHIN):
                chunk = await response.content.readuntil(after)
            assert chunk.startswith(before)
            assert json.loads(chunk.removeprefix(before)) == {"resume_token": token}
            await script.says.put(str(int(token) + 1))

        assert response.status == 200
        assert response.content_type == kind


async def test_an_error_in_mid_stream_is_told_in_band(gateway: Gateway, script: Script) -> None:
    await script.says.put("1")
    await script.says.put(SlowReaderCut("too slow"))

    async with gateway.http.get("/v1/signals:stream", headers=VIEWER) as response:
        lines = [json.loads(line) for line in (await response.read()).splitlines()]

    assert lines[0] == {"resume_token": "1"}
    assert (lines[1]["end"]["code"], lines[1]["end"]["message"]) == (8, "too slow")
    assert lines[1]["end"]["details"][0]["reason"] == "ERROR_REASON_SLOW_READER"


async def test_an_error_before_the_first_message_is_an_ordinary_error(gateway: Gateway, script: Script) -> None:
    await script.says.put(SlowReaderCut("too slow"))

    async with gateway.http.get("/v1/signals:stream", headers=VIEWER) as response:
        body = await response.json()

    assert (response.status, body["details"][0]["reason"]) == (429, "ERROR_REASON_SLOW_READER")


async def test_a_reader_who_leaves_ends_the_stream_in_the_service(gateway: Gateway, script: Script) -> None:
    await script.says.put("1")
    async with gateway.http.get("/v1/signals:stream", headers=VIEWER) as response:
        await response.content.readuntil(b"\n")
        response.close()

    async with asyncio.timeout(WITHIN):
        await script.left.wait()


async def test_a_native_stream_goes_through_message_by_message(gateway: Gateway, script: Script) -> None:
    async with gateway.channel() as channel:
        stub = pb_grpc.PredictionServiceStub(channel)
        stream = stub.StreamSignals(pb.StreamSignalsRequest(), metadata=bearing(TOKEN))
        for token in ("1", "2"):
            await script.says.put(token)
            async with asyncio.timeout(WITHIN):
                assert (await anext(aiter(stream))).resume_token == token
        await script.says.put(SlowReaderCut("too slow"))

        assert (await anext(aiter(stream))).end.message == "too slow"
        assert await stream.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
