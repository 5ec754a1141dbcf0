"""What the gateway refuses, and that it says so in JSON with a reason and words that help."""

import io
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from yarl import URL

from gateway.contracts import SERVICES
from tests.gateway import Calls, Gateway, recorders, running_gateway
from tests.mesh import a_token

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRADER = {"authorization": f"Bearer {a_token('ROLE_TRADER')}"}
AN_ORDER_ID = "6f1c1f0e-0000-4000-8000-000000000002"


@pytest.fixture(scope="module")
def calls() -> Calls:
    return Calls()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(certificates: Path, calls: Calls) -> AsyncIterator[Gateway]:
    async with recorders(certificates, calls, *SERVICES) as servers:
        endpoints = {workload: (served.target,) for workload, served in servers.items()}
        async with running_gateway(certificates, endpoints, cors_origins=("https://app.example.com",)) as running:
            yield running


@pytest.fixture(autouse=True)
def forget(calls: Calls) -> None:
    calls.requests.clear()
    calls.headers.clear()


async def answer(gateway: Gateway, method: str, path: str, **arguments: Any) -> tuple[int, dict[str, Any]]:
    async with gateway.http.request(method, path, **arguments) as response:
        assert response.content_type == "application/json"
        return response.status, json.loads(await response.read())


def reason(body: dict[str, Any]) -> str:
    (info,) = (detail for detail in body["details"] if detail["@type"].endswith("google.rpc.ErrorInfo"))
    assert info["domain"] == "levimesh"
    return str(info["reason"]).removeprefix("ERROR_REASON_")


A_STRANGERS_TOKEN = a_token("ROLE_ADMIN", key=Ed25519PrivateKey.generate())
AN_EXPIRED_TOKEN = a_token("ROLE_ADMIN", iat=1, nbf=1, exp=int(time.time()) - 30)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (None, "TOKEN_MISSING"),
        ("nonsense", "TOKEN_INVALID"),
        (A_STRANGERS_TOKEN, "TOKEN_INVALID"),
        (AN_EXPIRED_TOKEN, "TOKEN_EXPIRED"),
        (a_token("ROLE_ADMIN", aud="elsewhere"), "TOKEN_INVALID"),
        (a_token("ROLE_ADMIN", iss="elsewhere"), "TOKEN_INVALID"),
    ],
)
async def test_without_a_good_token_nothing_reaches_a_service(
    gateway: Gateway, calls: Calls, token: str | None, expected: str
) -> None:
    headers = {"authorization": f"Bearer {token}"} if token else {}

    status, body = await answer(gateway, "GET", "/v1/orders", headers=headers)

    assert (status, body["code"], reason(body)) == (401, 16, expected)
    assert "log in (POST /v1/auth/login)" in body["message"], "it is the gateway that says so"
    assert calls.methods == []


async def test_a_token_in_the_query_counts_for_nothing(gateway: Gateway, calls: Calls) -> None:
    status, _ = await answer(gateway, "GET", f"/v1/orders?access_token={a_token('ROLE_ADMIN')}")

    assert status == 400
    assert calls.methods == []


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ('{"client_order_id": "1', "string"),
        ("[1, 2]", "must be a message"),
        ('{"client_order_id": 5}', "client_order_id"),
        ('{"side": "SIDE_SIDEWAYS"}', "SIDE_SIDEWAYS"),
    ],
)
async def test_a_body_that_does_not_fit_is_refused_with_what_is_wrong(
    gateway: Gateway, calls: Calls, content: str, hint: str
) -> None:
    status, body = await answer(gateway, "POST", "/v1/orders", headers=TRADER, data=content)

    assert (status, body["code"], reason(body)) == (400, 3, "REQUEST_MALFORMED")
    assert hint in body["message"]
    assert calls.methods == []


async def test_an_unknown_query_parameter_is_refused(gateway: Gateway, calls: Calls) -> None:
    status, body = await answer(gateway, "GET", "/v1/orders?opne_only=true", headers=TRADER)

    assert (status, reason(body)) == (400, "REQUEST_MALFORMED")
    assert "opne_only" in body["message"]
    assert calls.methods == []


async def test_a_body_does_not_override_the_path(gateway: Gateway, calls: Calls) -> None:
    status, body = await answer(
        gateway, "POST", f"/v1/orders/{AN_ORDER_ID}:cancel", headers=TRADER, json={"order_id": "another"}
    )

    assert (status, reason(body)) == (400, "REQUEST_MALFORMED")
    assert calls.methods == []


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield b" " * 100_000


@pytest.mark.parametrize("data", [io.BytesIO(b" " * 2_000_000), chunks()], ids=["of known length", "in chunks"])
async def test_a_body_over_the_limit_is_refused(gateway: Gateway, calls: Calls, data: Any) -> None:
    status, body = await answer(gateway, "POST", "/v1/orders", headers=TRADER, data=data)

    assert (status, body["code"], reason(body)) == (413, 8, "REQUEST_TOO_LARGE")
    assert calls.methods == []


async def test_headers_over_the_limit_are_refused(gateway: Gateway) -> None:
    status, body = await answer(gateway, "GET", "/v1/orders", headers={**TRADER, "x-long": "a" * 20_000})

    assert (status, reason(body)) == (431, "REQUEST_TOO_LARGE")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1/nothing"),
        ("DELETE", "/v1/orders"),
        ("GET", "/v1/orders/7:bogus"),
        ("POST", "/health"),
        ("GET", "/stats"),
        ("POST", "/levimesh.auth.v1.AuthService/Login"),
    ],
)
async def test_an_unknown_path_is_not_found(gateway: Gateway, calls: Calls, method: str, path: str) -> None:
    status, body = await answer(gateway, method, path, headers=TRADER)

    assert (status, body["code"], reason(body)) == (404, 12, "METHOD_NOT_FOUND")
    assert calls.methods == []


@pytest.mark.parametrize(("path", "headers"), [("/v1/models/a%2Fb", {}), ("/v1/models", {"x_user": "root"})])
async def test_ambiguous_paths_and_header_names_are_refused(
    gateway: Gateway, calls: Calls, path: str, headers: dict[str, str]
) -> None:
    url = f"http://127.0.0.1:{gateway.settings.plain_port}{path}"
    async with (
        aiohttp.ClientSession() as raw,
        raw.get(URL(url, encoded=True), headers={**TRADER, **headers}) as response,
    ):
        body = await response.json()

    assert (response.status, reason(body)) == (400, "REQUEST_MALFORMED")
    assert calls.methods == []


async def test_headers_that_claim_an_identity_are_dropped(gateway: Gateway, calls: Calls) -> None:
    claims = {
        "x-forwarded-client-cert": "URI=spiffe://levimesh/stack",
        "x-user-id": "root",
        "x-user-roles": "ROLE_ADMIN",
        "x-levimesh-user": "root",
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-envoy-original-path": "/v1/elsewhere",
        "x-forwarded-for": "203.0.113.7",
    }

    status, _ = await answer(gateway, "GET", "/v1/symbols", headers={**TRADER, **claims})

    assert status == 200
    arrived = calls.headers
    assert not arrived.keys() & (claims.keys() - {"x-envoy-original-path", "x-forwarded-for"})
    assert arrived["x-envoy-original-path"] == "/v1/symbols"
    assert arrived["authorization"] == TRADER["authorization"]


async def test_only_the_named_origins_may_call_from_a_browser(gateway: Gateway, calls: Calls) -> None:
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    allowed = []
    for origin in ("https://app.example.com", "https://evil.example.com"):
        async with gateway.http.options("/v1/orders", headers={"origin": origin, **asks}) as response:
            allowed.append((response.status, response.headers.get("access-control-allow-origin")))

    assert allowed == [(200, "https://app.example.com"), (404, None)]
    async with gateway.http.get("/v1/symbols", headers={**TRADER, "origin": "https://app.example.com"}) as response:
        assert response.headers["access-control-allow-origin"] == "https://app.example.com"
    assert calls.methods == ["ListSymbols"]


async def test_the_administration_is_a_socket_of_the_owner(gateway: Gateway) -> None:
    for socket in (gateway.settings.admin_socket, gateway.settings.jwks_socket):
        assert socket.is_socket()
        assert socket.stat().st_mode & 0o077 == 0
