"""The Python client through a real Envoy: what the gateway itself refuses, and streams that outlive it."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration

from gateway.contracts import SERVICES
from levimesh.auth.v1 import auth_service_pb2
from levimesh.client import Client, Profile
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import symbol_pb2
from levimesh.prediction.v1 import prediction_pb2, prediction_service_pb2
from tests.gateway import Calls, recorders, running_gateway
from tests.mesh import a_token

SYMBOLS = pb.ListSymbolsResponse(symbols=[symbol_pb2.Symbol(symbol="BTC-USDT@simex")])


@asynccontextmanager
async def a_client(certificates: Path, calls: Calls, tokens: Iterator[str]) -> AsyncIterator[Client]:
    """A client of a gateway whose logins give ``tokens``, one after the other."""

    async def log_in(_: Any) -> auth_service_pb2.LoginResponse:
        return auth_service_pb2.LoginResponse(access_token=next(tokens), expires_in=Duration(seconds=300))

    async def list_symbols(_: Any) -> pb.ListSymbolsResponse:
        return SYMBOLS

    async def stream_signals(request: Any) -> AsyncIterator[Any]:
        """Two signals behind the resume token, and then the service goes away."""
        seen = int(request.resume_token or 0)
        for number in (seen + 1, seen + 2):
            signal = prediction_pb2.Signal(prediction=prediction_pb2.Prediction(prediction_id=str(number)))
            batch = prediction_pb2.SignalBatch(signals=[signal])
            yield prediction_service_pb2.StreamSignalsResponse(signals=batch, resume_token=str(number))
        raise ConnectionError

    answers = {"Login": log_in, "ListSymbols": list_symbols, "StreamSignals": stream_signals}
    async with recorders(certificates, calls, *SERVICES, **answers) as servers:
        endpoints = {workload: (served.target,) for workload, served in servers.items()}
        async with running_gateway(certificates, endpoints) as gateway:
            address = f"localhost:{gateway.settings.tls_port}"
            profile = Profile(address, str(certificates / "ca.pem"), "alice", "a password")
            async with Client.connect(profile) as mesh:
                yield mesh


async def test_an_expired_token_that_the_gateway_refuses_is_replaced(certificates: Path) -> None:
    expired, calls = a_token("ROLE_TRADER", exp=int(time.time()) - 120), Calls()

    async with a_client(certificates, calls, iter([expired, a_token("ROLE_TRADER")])) as mesh:
        assert await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest()) == SYMBOLS

    assert calls.methods == ["Login", "Login", "ListSymbols"], "the expired one got no further than the gateway"


async def test_a_stream_goes_on_after_a_refused_token_and_a_failure(certificates: Path) -> None:
    altered, calls, seen = a_token("ROLE_TRADER") + "x", Calls(), []

    async with (
        a_client(certificates, calls, iter([altered, a_token("ROLE_TRADER")])) as mesh,
        aclosing(mesh.signals()) as signals,
    ):
        async for signal in signals:
            seen.append(signal.prediction.prediction_id)
            if len(seen) == 4:
                break

    assert seen == ["1", "2", "3", "4"]
    assert calls.methods == ["Login", "Login", "StreamSignals", "StreamSignals"]
