"""What the gateway does with clients that are not like others, and what it tells browsers."""

import asyncio
import json
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from google.api import httpbody_pb2

from gateway.contracts import SERVICES
from levimesh.auth.v1 import oauth_service_pb2, oauth_service_pb2_grpc
from services.runtime.errors import DependencyUnavailable
from tests.gateway import Calls, Gateway, recorders, running_gateway
from tests.mesh import a_token, bearing, error_info

pytestmark = pytest.mark.asyncio(loop_scope="module")

UnaryUnary = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
WITHIN = 10.0
TRADER = {"authorization": f"Bearer {a_token('ROLE_TRADER')}"}
CAREFUL = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
A_FORM = {"grant_type": "authorization_code", "code": "spent"}
TOKEN, LOGIN_PAGE = "/oauth2/token", "/oauth2/authorize"


async def token(request: oauth_service_pb2.TokenRequest) -> oauth_service_pb2.TokenResponse:
    """Answers with the form that it got."""
    return oauth_service_pb2.TokenResponse(
        body=httpbody_pb2.HttpBody(content_type="application/json", data=json.dumps(str(request.form.data)).encode())
    )


async def authorize(_: oauth_service_pb2.AuthorizeRequest) -> oauth_service_pb2.AuthorizeResponse:
    return oauth_service_pb2.AuthorizeResponse(body=httpbody_pb2.HttpBody(content_type="text/html", data=b""))


async def show_login(_: oauth_service_pb2.ShowLoginRequest) -> oauth_service_pb2.ShowLoginResponse:
    page = httpbody_pb2.HttpBody(content_type="text/html; charset=utf-8", data=b"<!doctype html>")
    return oauth_service_pb2.ShowLoginResponse(body=page)


async def away(_: object) -> None:
    raise DependencyUnavailable("the database is away", part="database")


@pytest.fixture(scope="module")
def calls() -> Calls:
    return Calls()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(certificates: Path, calls: Calls) -> AsyncIterator[Gateway]:
    answers: dict[str, Any] = {"Token": token, "Authorize": authorize, "ShowLogin": show_login, "GetUser": away}
    async with recorders(certificates, calls, *SERVICES, **answers) as servers:
        endpoints = {workload: (served.target,) for workload, served in servers.items()}
        async with running_gateway(certificates, endpoints, cors_origins=("https://app.example.com",)) as running:
            yield running


@pytest.fixture(autouse=True)
def forget(calls: Calls) -> None:
    calls.requests.clear()
    calls.headers.clear()
    calls.sends.clear()


def lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/v1/symbols", TRADER, 200),
        ("GET", "/health", {}, 200),
        ("GET", "/v1/symbols", {}, 401),
        ("GET", "/v1/nothing", {}, 404),
        ("GET", "/v1/symbols", {"x_user": "root"}, 400),
        ("GET", "/v1/symbols", {"x-long": "a" * 20_000}, 431),
        ("GET", "/v1/symbols", {f"x-{number}": "a" for number in range(100)}, 431),
        ("GET", "/v1/symbols?unknown=1", TRADER, 400),
        ("OPTIONS", "/v1/orders", {"origin": "https://app.example.com", "access-control-request-method": "POST"}, 200),
    ],
)
async def test_every_answer_tells_browsers_to_be_careful(
    gateway: Gateway, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    async with gateway.http.request(method, path, headers=headers) as response:
        told = lower(response.headers)

    assert response.status == status
    assert {name: told.get(name) for name in CAREFUL} == CAREFUL
    assert "strict-transport-security" not in told, "this came without TLS"
    assert not [name for name in told if name.startswith(("x-levimesh-", "x-envoy-"))]


@pytest.mark.parametrize("headers", [TRADER, {"x_user": "root"}], ids=["answered", "refused at once"])
async def test_over_tls_a_browser_is_told_to_come_by_tls_again(gateway: Gateway, headers: dict[str, str]) -> None:
    trusting = ssl.create_default_context(cafile=gateway.trust_bundle)
    url = f"https://localhost:{gateway.settings.tls_port}/v1/symbols"
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers, ssl=trusting) as response:
        assert response.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"


async def test_a_service_may_say_that_its_answer_can_be_kept(gateway: Gateway, calls: Calls) -> None:
    calls.sends["GetJwks"] = (("cache-control", "max-age=60"), ("x-levimesh-anything", "inside"))

    async with gateway.http.get("/.well-known/jwks.json") as response:
        assert response.headers["cache-control"] == "max-age=60"
        assert "x-levimesh-anything" not in response.headers


async def test_an_origin_that_is_not_named_learns_nothing(gateway: Gateway) -> None:
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    foreign = {"origin": "https://evil.example.com"}

    async with gateway.http.options("/v1/orders", headers=foreign | asks) as preflight:
        assert not [name for name in preflight.headers if name.lower().startswith("access-control-")]
    async with gateway.http.get("/v1/symbols", headers=foreign | TRADER) as simple:
        assert not [name for name in simple.headers if name.lower().startswith("access-control-")]


async def test_without_named_origins_no_page_may_call(certificates: Path) -> None:
    async with recorders(certificates, Calls(), *SERVICES) as servers:
        endpoints = {workload: (served.target,) for workload, served in servers.items()}
        async with (
            running_gateway(certificates, endpoints) as closed,
            closed.http.get("/v1/symbols", headers={**TRADER, "origin": "https://app.example.com"}) as response,
        ):
            assert not [name for name in response.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(
    "method",
    [
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/envoy.service.auth.v3.Authorization/Check",
        "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
        "/levimesh.auth.v1.AuthService/ListRevocations",
    ],
)
async def test_what_the_mesh_asks_itself_cannot_be_asked_from_outside(gateway: Gateway, method: str) -> None:
    async with gateway.channel() as channel:
        call: UnaryUnary = channel.unary_unary(method)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"", metadata=bearing(a_token("ROLE_ADMIN")))

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert error_info(refused.value).reason == "ERROR_REASON_METHOD_NOT_FOUND", "it is the gateway that says so"


async def test_a_service_is_told_the_address_and_nothing_that_a_client_made_up(gateway: Gateway, calls: Calls) -> None:
    made_up = {"x-levimesh-address": "10.0.0.1", "X-LeviMesh-Anything": "1", "x-levimesh-http-status": "200"}

    async with gateway.http.get("/v1/symbols", headers={**TRADER, **made_up}) as response:
        assert response.status == 200

    assert calls.headers["x-levimesh-address"] == "127.0.0.1"
    assert not calls.headers.keys() & {"x-levimesh-anything", "x-levimesh-http-status"}


@pytest.mark.parametrize("name", ["l~", "*", "k-yx^h", "x-some-bin", "X-Some-Bin"])
async def test_headers_that_grpc_does_not_know_do_no_harm(gateway: Gateway, calls: Calls, name: str) -> None:
    async with gateway.http.get("/v1/users/me", headers={**TRADER, name: "not base64!", "x-else": "kept"}) as answer:
        assert answer.status == 200

    assert name.lower() not in calls.headers
    assert calls.headers["x-else"] == "kept"


@pytest.mark.parametrize(("said", "status"), [("401", 401), ("400", 400), ("999", 200), ("20", 200), ("", 200)])
async def test_a_page_has_the_status_that_its_service_says(
    gateway: Gateway, calls: Calls, said: str, status: int
) -> None:
    calls.sends["Token"] = (("x-levimesh-http-status", said), ("www-authenticate", 'Basic realm="levimesh"'))

    async with gateway.http.post(TOKEN, data=A_FORM) as response:
        body = await response.json()

    assert response.status == status
    assert body == str(b"grant_type=authorization_code&code=spent")
    assert response.headers["www-authenticate"] == 'Basic realm="levimesh"'
    assert "x-levimesh-http-status" not in response.headers


async def test_a_page_can_send_a_browser_elsewhere(gateway: Gateway, calls: Calls) -> None:
    calls.sends["Authorize"] = (
        ("x-levimesh-http-status", "303"),
        ("location", "https://app.example.com/back?code=1&state=2"),
    )

    async with gateway.http.post(LOGIN_PAGE, data={"username": "alice"}, allow_redirects=False) as response:
        assert (response.status, response.headers["location"]) == (303, "https://app.example.com/back?code=1&state=2")


async def test_a_page_may_say_what_it_is_made_of(gateway: Gateway, calls: Calls) -> None:
    calls.sends["ShowLogin"] = (("content-security-policy", "default-src 'self'; frame-ancestors 'none'"),)

    async with gateway.http.get(LOGIN_PAGE, params={"client_id": "web"}) as response:
        assert (response.status, await response.text()) == (200, "<!doctype html>")
        assert response.content_type == "text/html"
        assert response.headers["content-security-policy"] == "default-src 'self'; frame-ancestors 'none'"


async def test_over_grpc_a_page_is_an_ordinary_answer(gateway: Gateway, calls: Calls) -> None:
    calls.sends["Token"] = (("x-levimesh-http-status", "401"),)

    async with gateway.channel() as channel:
        response = await oauth_service_pb2_grpc.OAuthServiceStub(channel).Token(oauth_service_pb2.TokenRequest())

    assert response.body.content_type == "application/json"


async def test_only_pages_say_their_status(gateway: Gateway, calls: Calls) -> None:
    calls.sends["ListSymbols"] = (("x-levimesh-http-status", "401"),)

    async with gateway.http.get("/v1/symbols", headers=TRADER) as response:
        assert response.status == 200


class Http2:
    """A client that speaks HTTP/2 frame by frame, as no library would."""

    _DATA, _HEADERS, _RESET, _SETTINGS, _PING = 0, 1, 3, 4, 6
    _LAST = b"the last"

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, gateway: Gateway) -> "Http2":
        client = cls(*await asyncio.open_connection("127.0.0.1", gateway.settings.plain_port))
        client._writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        client._frame(cls._SETTINGS, 0, b"")
        return client

    def open(self, stream: int, *, ends: bool = True) -> None:
        """A request, which ``ends`` with its headers or goes on."""
        pairs = [(":method", "GET"), (":scheme", "http"), (":path", "/v1/symbols"), (":authority", "localhost")]
        pairs.append(("authorization", TRADER["authorization"]))
        self._frame(self._HEADERS, stream, b"".join(_literal(*pair) for pair in pairs), flags=0x5 if ends else 0x4)

    def reset(self, stream: int) -> None:
        self._frame(self._RESET, stream, struct.pack("!I", 8))

    def nothing(self, stream: int) -> None:
        """Data that is none."""
        self._frame(self._DATA, stream, b"")

    async def is_thrown_out(self) -> bool:
        """Whether the server ends the connection rather than answering once more."""
        self._frame(self._PING, 0, self._LAST)
        said = b""
        try:
            async with asyncio.timeout(WITHIN):
                while self._LAST not in said:
                    if not (chunk := await self._reader.read(65536)):
                        return True
                    said += chunk
        except ConnectionError:
            return True
        finally:
            self._writer.close()
        return False

    def _frame(self, kind: int, stream: int, payload: bytes, flags: int = 0) -> None:
        self._writer.write(struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream))
        self._writer.write(payload)


def _literal(name: str, value: str) -> bytes:
    """A header in HPACK, without index or Huffman code."""
    return b"\x00" + b"".join(_length(len(text)) + text.encode() for text in (name, value))


def _length(number: int) -> bytes:
    if number < 127:
        return bytes([number])
    rest, found = number - 127, b"\x7f"
    while rest >= 128:
        found += bytes([rest % 128 | 128])
        rest //= 128
    return found + bytes([rest])


async def test_a_client_that_resets_what_it_opens_is_thrown_out(gateway: Gateway) -> None:
    client = await Http2.connect(gateway)
    for stream in range(1, 1300, 2):
        client.open(stream)
        client.reset(stream)

    assert await client.is_thrown_out()


async def test_a_client_that_floods_with_empty_frames_is_thrown_out(gateway: Gateway) -> None:
    client = await Http2.connect(gateway)
    client.open(1, ends=False)
    for _ in range(10):
        client.nothing(1)

    assert await client.is_thrown_out()


async def test_a_client_that_behaves_stays(gateway: Gateway) -> None:
    client = await Http2.connect(gateway)
    for stream in range(1, 20, 2):
        client.open(stream)

    assert not await client.is_thrown_out()


async def test_when_memory_gets_scarce_calls_are_refused_and_it_is_said_why(certificates: Path) -> None:
    calls = Calls()
    async with recorders(certificates, calls, *SERVICES) as servers:
        endpoints = {workload: (served.target,) for workload, served in servers.items()}
        async with running_gateway(certificates, endpoints) as roomy:
            used = await heap(roomy)

        async def refused(http: aiohttp.ClientSession) -> bool:
            async with http.get("/v1/symbols", headers=TRADER) as response:
                return response.status == 429

        async with (
            running_gateway(certificates, endpoints, max_heap_bytes=int(used / 0.94), ready=refused) as tight,
            tight.http.get("/v1/symbols", headers=TRADER) as response,
        ):
            body = await response.json()

    assert body["details"][0]["reason"] == "ERROR_REASON_OVERLOADED"
    assert response.headers["retry-after"] == "1"
    assert response.headers["x-content-type-options"] == "nosniff"


async def heap(gateway: Gateway) -> int:
    """What Envoy has of memory now."""
    connector = aiohttp.UnixConnector(str(gateway.settings.admin_socket))
    async with (
        aiohttp.ClientSession(connector=connector) as administration,
        administration.get("http://admin/memory") as response,
    ):
        known = json.loads(await response.read())
    return int(known["heap_size"]) - int(known["pageheap_unmapped"]) - int(known["pageheap_free"])


async def answers(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(WITHIN):
            return bool(await reader.read(1))
    except ConnectionError:
        return False


async def test_more_connections_than_the_limit_are_closed(certificates: Path) -> None:
    async with recorders(certificates, Calls(), *SERVICES) as servers:
        endpoints = {workload: (served.target,) for workload, served in servers.items()}
        async with running_gateway(certificates, endpoints, max_connections=10) as small, AsyncExitStack() as held:
            open_ones = []
            for _ in range(20):
                reader, writer = await asyncio.open_connection("127.0.0.1", small.settings.plain_port)
                held.callback(writer.close)
                writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
                open_ones.append(await answers(reader))

    assert 0 < sum(open_ones) <= 10
    assert open_ones == sorted(open_ones, reverse=True), "who is in stays in"
