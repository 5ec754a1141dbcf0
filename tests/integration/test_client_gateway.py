"""The Python client through a real Envoy: what the gateway itself refuses, and streams that outlive it."""

import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.duration_pb2 import Duration

from gateway.contracts import SERVICES
from levimesh.auth.v1 import auth_service_pb2, oauth_service_pb2, policy_service_pb2
from levimesh.client import Client, Profile
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import symbol_pb2
from levimesh.prediction.v1 import prediction_pb2, prediction_service_pb2
from tests.gateway import Calls, recorders, running_gateway
from tests.mesh import a_token

SYMBOLS = pb.ListSymbolsResponse(symbols=[symbol_pb2.Symbol(symbol="BTC-USDT@simex")])
A_KEY = "lm_abcdefgh_secret"


@dataclass
class Auth:
    """Gives ``tokens``, one after the other, whether for a password, a refresh token or an API key."""

    tokens: Iterator[str]
    lifetime: Duration = field(default_factory=lambda: Duration(seconds=300))

    async def log_in(self, _: Any) -> auth_service_pb2.LoginResponse:
        token = next(self.tokens)
        return auth_service_pb2.LoginResponse(access_token=token, expires_in=self.lifetime, refresh_token="next")

    async def refresh(self, _: Any) -> auth_service_pb2.RefreshSessionResponse:
        token = next(self.tokens)
        return auth_service_pb2.RefreshSessionResponse(
            access_token=token, expires_in=self.lifetime, refresh_token="next"
        )

    async def exchange(self, _: Any) -> oauth_service_pb2.TokenResponse:
        answer = {"access_token": next(self.tokens), "token_type": "Bearer", "expires_in": self.lifetime.seconds}
        body = HttpBody(content_type="application/json", data=json.dumps(answer).encode())
        return oauth_service_pb2.TokenResponse(body=body)


@asynccontextmanager
async def a_client(certificates: Path, calls: Calls, *tokens: str, api_key: str = "") -> AsyncIterator[Client]:
    """A client of a gateway whose auth gives ``tokens``."""
    auth = Auth(iter(tokens))

    async def list_symbols(_: Any) -> pb.ListSymbolsResponse:
        return SYMBOLS

    async def get_limits(_: Any) -> policy_service_pb2.GetLimitsResponse:
        return policy_service_pb2.GetLimitsResponse()

    async def stream_signals(request: Any) -> AsyncIterator[Any]:
        """Two signals behind the resume token, and then the service goes away."""
        seen = int(request.resume_token or 0)
        for number in (seen + 1, seen + 2):
            signal = prediction_pb2.Signal(prediction=prediction_pb2.Prediction(prediction_id=str(number)))
            batch = prediction_pb2.SignalBatch(signals=[signal])
            yield prediction_service_pb2.StreamSignalsResponse(signals=batch, resume_token=str(number))
        raise ConnectionError

    answers: dict[str, Any] = {
        "Login": auth.log_in,
        "RefreshSession": auth.refresh,
        "Token": auth.exchange,
        "ListSymbols": list_symbols,
        "GetLimits": get_limits,
        "StreamSignals": stream_signals,
    }
    async with recorders(certificates, calls, *SERVICES, **answers) as servers:
        endpoints = {workload: (served.target,) for workload, served in servers.items()}
        async with running_gateway(certificates, endpoints) as gateway:
            address = f"localhost:{gateway.settings.tls_port}"
            alice = Profile(address, str(certificates / "ca.pem"), "alice", "a password")
            async with Client.connect(replace(alice, api_key=api_key)) as mesh:
                yield mesh


async def test_an_expired_token_that_the_gateway_refuses_is_renewed_by_the_session(certificates: Path) -> None:
    expired, calls = a_token("ROLE_TRADER", exp=int(time.time()) - 120), Calls()

    async with a_client(certificates, calls, expired, a_token("ROLE_TRADER")) as mesh:
        assert await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest()) == SYMBOLS

    assert calls.methods == ["Login", "RefreshSession", "ListSymbols"], "the expired one got as far as the gateway"


async def test_a_stream_goes_on_after_a_refused_token_and_a_failure(certificates: Path) -> None:
    altered, calls, seen = a_token("ROLE_TRADER") + "x", Calls(), []

    async with (
        a_client(certificates, calls, altered, a_token("ROLE_TRADER")) as mesh,
        aclosing(mesh.signals()) as signals,
    ):
        async for signal in signals:
            seen.append(signal.prediction.prediction_id)
            if len(seen) == 4:
                break

    assert seen == ["1", "2", "3", "4"]
    assert calls.methods == ["Login", "RefreshSession", "StreamSignals", "StreamSignals"]


async def test_an_api_key_gets_through_to_the_token_endpoint_and_no_further(certificates: Path) -> None:
    calls = Calls()

    async with a_client(certificates, calls, a_token("ROLE_TRADER", scope="read"), api_key=A_KEY) as mesh:
        await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())
        proof = base64.b64encode(f"lm_abcdefgh:{A_KEY}".encode()).decode()
        assert proof not in str(calls.headers)

    assert calls.methods == ["Token", "ListSymbols"]
    assert calls.requests[0][1].form.data == b"grant_type=client_credentials"


async def test_a_read_beyond_the_limit_waits_until_the_gateway_lets_it_through(certificates: Path) -> None:
    calls, allowed = Calls(), 60

    async with a_client(certificates, calls, a_token("ROLE_TRADER")) as mesh:
        started = time.monotonic()
        for _ in range(allowed + 1):
            await mesh.policy.GetLimits(policy_service_pb2.GetLimitsRequest())

    assert time.monotonic() - started >= 1.0, "one more each second"
    assert calls.methods.count("GetLimits") == allowed + 1
