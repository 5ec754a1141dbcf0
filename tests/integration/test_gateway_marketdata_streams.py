"""Streams of instruments from outside: REST in both its forms, gRPC both ways, and readers that take nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from gateway.contracts import SERVICES
from levimesh.common.v1 import streaming_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc as pb_grpc
from levimesh.marketdata.v1 import stream_pb2
from tests.gateway import Calls, Gateway, recorders, running_gateway
from tests.live import BTC, Conversation, LiveWorld, Replica, a_live_world, a_trade
from tests.marketdata import until
from tests.mesh import a_token, bearing, ending_of

VIEWER = bearing(a_token("ROLE_VIEWER"))
STALL_SECONDS = 0.4


@pytest.fixture
async def world(redis_url: str, certificates: Path) -> AsyncIterator[LiveWorld]:
    async with a_live_world(redis_url, certificates) as world:
        yield world


@pytest.fixture
async def replica(world: LiveWorld) -> AsyncIterator[Replica]:
    async with world.replica(stalled_seconds=STALL_SECONDS) as replica:
        yield replica


@pytest.fixture
async def gateway(certificates: Path, replica: Replica) -> AsyncIterator[Gateway]:
    others = [workload for workload in SERVICES if workload != "marketdata"]
    async with recorders(certificates, Calls(), *others) as servers:
        endpoints = {workload: (served.target,) for workload, served in servers.items()}
        endpoints["marketdata"] = (replica.served.target,)
        async with running_gateway(certificates, endpoints) as gateway:
            yield gateway


def subscribe(
    slow_reader: streaming_pb2.SlowReader.ValueType = streaming_pb2.SLOW_READER_UNSPECIFIED,
) -> pb.MarketDataStreamRequest:
    instrument = stream_pb2.Instrument(channel=stream_pb2.CHANNEL_TRADES, symbol=BTC)
    subscription = pb.Subscribe(instruments=[instrument], slow_reader=slow_reader)
    return pb.MarketDataStreamRequest(subscribe=subscription)


@pytest.mark.parametrize(
    ("accept", "before", "after"),
    [("application/json", b"", b"\n"), ("text/event-stream", b"data: ", b"\n\n")],
)
async def test_instruments_are_streamed_over_rest_and_resumed(
    world: LiveWorld, gateway: Gateway, accept: str, before: bytes, after: bytes
) -> None:
    headers = {**dict(VIEWER), "accept": accept}
    body = {"instruments": [{"channel": "CHANNEL_TRADES", "symbol": BTC}]}

    async def message(response: object) -> dict[str, object]:
        async with asyncio.timeout(5):
            chunk: bytes = await response.content.readuntil(after)  # type: ignore[attr-defined] # of aiohttp
        found: dict[str, object] = json.loads(chunk.removeprefix(before))
        return found

    async with gateway.http.post("/v1/marketdata:stream", headers=headers, json=body) as response:
        assert response.status == 200
        results = await message(response)
        assert results["results"] == {
            "request_id": "",
            "results": [
                {
                    "instrument": {
                        "channel": "CHANNEL_TRADES",
                        "symbol": BTC,
                        "interval": "INTERVAL_UNSPECIFIED",
                        "include_forming": False,
                    },
                    "status": "SUBSCRIPTION_STATUS_SUBSCRIBED",
                }
            ],
        }
        await world.trade(a_trade(1), a_trade(2))
        assert (await message(response))["trades"]
    resumed = {**body, "resume_token": results["resume_token"]}
    async with gateway.http.post("/v1/marketdata:stream", headers=headers, json=resumed) as response:
        assert (await message(response))["resume_token"] == results["resume_token"]
        trades = await message(response)
        assert [trade["sequence"] for trade in trades["trades"]["trades"]] == ["1", "2"]  # type: ignore[index] # JSON


async def test_a_rule_that_is_broken_is_an_ordinary_error_over_rest(gateway: Gateway) -> None:
    body = {"instruments": [{"channel": "CHANNEL_CANDLES", "symbol": BTC}]}
    async with gateway.http.post("/v1/marketdata:stream", headers=dict(VIEWER), json=body) as response:
        assert response.status == 400
        assert (await response.json())["details"][0]["reason"] == "ERROR_REASON_FIELD_VIOLATION"


async def test_a_conversation_goes_through_both_ways(world: LiveWorld, gateway: Gateway) -> None:
    async with gateway.channel() as channel:
        stub = pb_grpc.MarketDataServiceStub(channel)
        stream = Conversation(stub.MarketDataStream(metadata=VIEWER), [subscribe()])
        assert await stream.statuses() == ["SUBSCRIBED"]
        await world.trade(a_trade(1))
        assert await stream.trades(1) == [1]
        await stream.say(pb.MarketDataStreamRequest(list_subscriptions=pb.ListSubscriptions(), request_id="list"))
        assert (await stream.next()).results.request_id == "list"
        stream.leave()


async def test_a_reader_that_takes_nothing_is_cut_behind_the_gateway_too(
    world: LiveWorld, replica: Replica, gateway: Gateway
) -> None:
    """What Envoy holds for it comes first, then the reason."""
    async with gateway.channel() as channel:
        request = subscribe(streaming_pb2.SLOW_READER_DISCONNECT)
        stalled = Conversation(pb_grpc.MarketDataServiceStub(channel).MarketDataStream(metadata=VIEWER), [request])
        await stalled.statuses()
        other = replica.open(subscribe())
        await other.statuses()
        number = 0
        for _ in range(80):
            batch = [a_trade(number + index + 1, trade_id="x" * 100_000) for index in range(5)]
            number += len(batch)
            await world.trade(*batch)
            await other.trades(len(batch))
        other.leave()
        method = {"grpc_method": "/levimesh.marketdata.v1.MarketDataService/MarketDataStream"}

        async def is_over() -> bool:
            return replica.served.registry.get_sample_value("grpc_server_running", method) == 0

        await until(is_over)
        assert await ending_of(stalled.call) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_SLOW_READER")
