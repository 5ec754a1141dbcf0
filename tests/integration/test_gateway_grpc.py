"""Native gRPC and gRPC-Web through the gateway, and what no client reaches."""

import base64
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from google.protobuf import empty_pb2

from gateway.contracts import SERVICES
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc as pb_grpc
from levimesh.marketdata.v1 import symbol_pb2
from services.runtime.deadlines import seconds_left
from services.runtime.errors import NotFound
from tests.gateway import Calls, Gateway, recorders, running_gateway
from tests.mesh import a_token, bearing, error_info

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRADER = bearing(a_token("ROLE_TRADER"))
A_SYMBOL = symbol_pb2.Symbol(symbol="BTC-USDT@simex")
UnaryUnary = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


class SymbolNotFound(NotFound):
    reason = "SYMBOL_NOT_FOUND"


async def list_symbols(_: pb.ListSymbolsRequest) -> pb.ListSymbolsResponse:
    return pb.ListSymbolsResponse(symbols=[A_SYMBOL])


async def get_ticker(request: pb.GetTickerRequest) -> pb.GetTickerResponse:
    raise SymbolNotFound("not known", symbol=request.symbol, seconds_left=str(seconds_left()))


@pytest.fixture(scope="module")
def calls() -> Calls:
    return Calls()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(certificates: Path, calls: Calls) -> AsyncIterator[Gateway]:
    async with recorders(certificates, calls, *SERVICES, ListSymbols=list_symbols, GetTicker=get_ticker) as servers:
        endpoints = {workload: (served.target,) for workload, served in servers.items()}
        async with running_gateway(certificates, endpoints) as running:
            yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(gateway: Gateway) -> AsyncIterator[grpc.aio.Channel]:
    async with gateway.channel() as opened:
        yield opened


@pytest.fixture(autouse=True)
def forget(calls: Calls) -> None:
    calls.requests.clear()


async def test_a_native_call_goes_through(channel: grpc.aio.Channel) -> None:
    response = await pb_grpc.MarketDataServiceStub(channel).ListSymbols(pb.ListSymbolsRequest(), metadata=TRADER)

    assert response.symbols == [A_SYMBOL]


async def test_an_error_of_a_service_keeps_its_details(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await pb_grpc.MarketDataServiceStub(channel).GetTicker(
            pb.GetTickerRequest(symbol="XRP-USDT@simex"), metadata=TRADER
        )

    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert error_info(refused.value).reason == "ERROR_REASON_SYMBOL_NOT_FOUND"


async def test_the_gateways_own_errors_have_details_too(channel: grpc.aio.Channel, calls: Calls) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await pb_grpc.MarketDataServiceStub(channel).ListSymbols(pb.ListSymbolsRequest())

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "log in" in (refused.value.details() or "")
    assert error_info(refused.value).reason == "ERROR_REASON_TOKEN_MISSING"
    assert calls.methods == []


async def test_a_shorter_deadline_of_the_client_reaches_the_service(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await pb_grpc.MarketDataServiceStub(channel).GetTicker(
            pb.GetTickerRequest(symbol="XRP-USDT@simex"), metadata=TRADER, timeout=1.0
        )

    assert float(error_info(refused.value).metadata["seconds_left"]) < 1.5, "the policy allows 2"


@pytest.mark.parametrize(
    "path",
    [
        "/levimesh.auth.v1.AuthService/CreateFirstAdmin",
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/levimesh.trading.v1.TradingService/NoSuchMethod",
    ],
)
@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc-web+proto"])
async def test_what_no_policy_exposes_is_not_there(gateway: Gateway, calls: Calls, path: str, kind: str) -> None:
    headers = {"content-type": kind, "authorization": f"Bearer {a_token('ROLE_ADMIN')}", "te": "trailers"}

    async with gateway.http.post(path, headers=headers, data=_frame(empty_pb2.Empty())) as response:
        assert response.headers["grpc-status"] == str(grpc.StatusCode.UNIMPLEMENTED.value[0])

    assert calls.methods == []


async def test_a_native_client_is_told_why(channel: grpc.aio.Channel) -> None:
    hidden: UnaryUnary = channel.unary_unary("/levimesh.auth.v1.AuthService/CreateFirstAdmin")

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await hidden(b"")

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert error_info(refused.value).reason == "ERROR_REASON_METHOD_NOT_FOUND"


async def test_a_grpc_web_call_is_answered_in_frames(gateway: Gateway) -> None:
    (message, trailers), status = await _web_call(gateway, "ListSymbols", pb.ListSymbolsRequest())

    assert status == 200
    assert pb.ListSymbolsResponse.FromString(message).symbols == [A_SYMBOL]
    assert b"grpc-status:0" in trailers


async def test_a_grpc_web_text_call_is_answered_in_base64(gateway: Gateway) -> None:
    path, kind = "/levimesh.marketdata.v1.MarketDataService/ListSymbols", "application/grpc-web-text"
    headers = {"content-type": kind, "accept": kind, **dict(TRADER)}

    async with gateway.http.post(path, headers=headers, data=base64.b64encode(_frame(pb.ListSymbolsRequest()))) as got:
        body = base64.b64decode(await got.read())

    assert A_SYMBOL.SerializeToString() in body


async def _web_call(gateway: Gateway, method: str, request: pb.ListSymbolsRequest) -> tuple[list[bytes], int]:
    headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1", **dict(TRADER)}
    path = f"/levimesh.marketdata.v1.MarketDataService/{method}"
    async with gateway.http.post(path, headers=headers, data=_frame(request)) as response:
        return _frames(await response.read()), response.status


def _frame(message: empty_pb2.Empty | pb.ListSymbolsRequest) -> bytes:
    content = message.SerializeToString()
    return struct.pack(">BI", 0, len(content)) + content


def _frames(body: bytes) -> list[bytes]:
    found = []
    while body:
        _, size = struct.unpack(">BI", body[:5])
        found.append(body[5 : 5 + size])
        body = body[5 + size :]
    return found
