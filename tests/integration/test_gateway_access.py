"""Who comes in: with a token of the mesh nobody is asked; auth exchanges API keys and outside tokens for one."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.json_format import MessageToDict
from google.rpc import code_pb2, status_pb2

from gateway.contracts import SERVICES
from levimesh.foreign.envoy.config.core.v3 import base_pb2
from levimesh.foreign.envoy.service.auth.v3 import external_auth_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2, marketdata_service_pb2_grpc
from services.auth.edge_converters import denied
from services.auth.errors import AddressNotAllowed, ApiKeyInvalid
from services.runtime.errors import DependencyUnavailable, MeshError, Overloaded
from services.stack.certificates import Authority
from services.stack.ports import find_free
from tests.gateway import Calls, Gateway, healthy, recorders, running_gateway
from tests.mesh import a_token, error_info, public_keys

pytestmark = pytest.mark.asyncio(loop_scope="module")

WITHIN = 10.0
A_KEY = {"x-api-key": "lm_test_0123456789"}
OWN = a_token("ROLE_TRADER", user_id="6f1c1f0e-0000-4000-8000-000000000042", tier="elevated")
TRADER = {"authorization": f"Bearer {a_token('ROLE_TRADER')}"}
ADMIN = {"authorization": f"Bearer {a_token('ROLE_ADMIN')}"}
ISSUER, AUDIENCE = "https://sso.example.com/realms/main", "the-mesh"


def outside(**claims: Any) -> dict[str, str]:
    """The header with a token of the other issuer; it publishes the same key, so only what the token says differs."""
    return {
        "authorization": f"Bearer {a_token(iss=claims.pop('iss', ISSUER), aud=claims.pop('aud', AUDIENCE), **claims)}"
    }


@dataclass
class Exchange:
    """Auth, as it gives a token of the mesh for something else."""

    asked: list[pb.CheckRequest] = field(default_factory=list)
    answer: pb.CheckResponse | Exception = field(default_factory=pb.CheckResponse)

    async def check(self, request: pb.CheckRequest) -> pb.CheckResponse:
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def gives(self, token: str) -> None:
        said = {"authorization": f"Bearer {token}", "x-levimesh-subject": "42", "x-levimesh-tier": "elevated"}
        found = pb.OkHttpResponse(headers=[_overwriting(key, value) for key, value in said.items()])
        self.answer = pb.CheckResponse(status=status_pb2.Status(code=code_pb2.OK), ok_response=found)

    def denies(self, error: MeshError) -> None:
        self.answer = denied(error)


def _overwriting(key: str, value: str) -> base_pb2.HeaderValueOption:
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=key, value=value),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


@asynccontextmanager
async def guarded(certificates: Path, calls: Calls, exchange: Exchange, **settings: Any) -> AsyncIterator[Gateway]:
    async with recorders(certificates, calls, *SERVICES, Check=exchange.check) as servers:
        endpoints = {workload: (served.target,) for workload, served in servers.items()}
        async with running_gateway(certificates, endpoints, **settings) as running:
            yield running


def beside(uri: str, trust_bundle: Path | None = None) -> dict[str, Any]:
    """The settings with another issuer, whose keys are at ``uri``."""
    known = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_uri": uri, "ca_file": trust_bundle}
    another = {"issuer": "https://another.example.com", "audience": "x", "jwks_uri": uri, "ca_file": trust_bundle}
    return {"external_issuers": ({**known, "roles": {"traders": "trader"}}, another)}


async def knows_the_other_issuer(http: aiohttp.ClientSession) -> bool:
    """Whether its keys are there too, so that a stranger's token is told from a missing key."""
    async with http.get("/v1/symbols", headers=outside(key=Ed25519PrivateKey.generate())) as refused:
        return refused.status == 401 and await healthy(http)


@asynccontextmanager
async def published_keys(tls: ssl.SSLContext | None = None, asked: asyncio.Event | None = None) -> AsyncIterator[str]:
    """Where another issuer publishes its keys; ``asked`` is set when somebody reads them."""

    async def keys(_: web.Request) -> web.Response:
        if asked is not None:
            asked.set()
        return web.json_response({"keys": [{**key, "alg": "EdDSA", "use": "sig"} for key in public_keys()]})

    application = web.Application()
    application.router.add_get("/keys", keys)
    runner = web.AppRunner(application)
    await runner.setup()
    (port,) = find_free(1, first=11_000)
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    try:
        yield f"{'http' if tls is None else 'https'}://localhost:{port}/keys"
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module")
def calls() -> Calls:
    return Calls()


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    return Exchange()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(certificates: Path, calls: Calls, exchange: Exchange) -> AsyncIterator[Gateway]:
    async with (
        published_keys() as uri,
        guarded(certificates, calls, exchange, ready=knows_the_other_issuer, **beside(uri)) as running,
    ):
        yield running


@pytest.fixture(autouse=True)
def forget(calls: Calls, exchange: Exchange) -> None:
    calls.requests.clear()
    calls.headers.clear()
    exchange.asked.clear()
    exchange.gives(OWN)


async def ask(gateway: Gateway, path: str, headers: dict[str, str]) -> tuple[int, str]:
    """The status and, of an error, its reason."""
    async with gateway.http.get(path, headers=headers) as response:
        body = json.loads(await response.read())
        return response.status, body.get("details", [{"reason": ""}])[0]["reason"].removeprefix("ERROR_REASON_")


async def refused_a_certificate(gateway: Gateway) -> None:
    """Wait until Envoy has refused the one of the other issuer's place of keys."""
    connector = aiohttp.UnixConnector(str(gateway.settings.admin_socket))
    counter = "http://admin/stats?filter=cluster.external_0.ssl.fail_verify_error"
    async with aiohttp.ClientSession(connector=connector) as administration, asyncio.timeout(WITHIN):
        while True:
            async with administration.get(counter) as response:
                if int((await response.text()).rpartition(":")[2]):
                    return
            await asyncio.sleep(0.05)


async def test_a_service_sees_the_token_that_auth_gives_for_an_api_key(
    gateway: Gateway, calls: Calls, exchange: Exchange
) -> None:
    assert await ask(gateway, "/v1/symbols", A_KEY) == (200, "")

    assert calls.headers["authorization"] == f"Bearer {OWN}"
    assert (calls.headers["x-levimesh-subject"], calls.headers["x-levimesh-tier"]) == ("42", "elevated")
    assert "x-api-key" not in calls.headers
    (asked,) = exchange.asked
    http = asked.attributes.request.http
    assert http.headers["x-api-key"] == A_KEY["x-api-key"]
    assert http.path == "/levimesh.marketdata.v1.MarketDataService/ListSymbols"
    assert http.headers["x-levimesh-address"] == "127.0.0.1"


async def test_over_grpc_an_api_key_works_as_well(gateway: Gateway, calls: Calls) -> None:
    async with gateway.channel() as channel:
        await marketdata_service_pb2_grpc.MarketDataServiceStub(channel).ListSymbols(
            marketdata_service_pb2.ListSymbolsRequest(), metadata=tuple(A_KEY.items())
        )

    assert calls.headers["authorization"] == f"Bearer {OWN}"


async def test_auth_learns_no_more_of_a_call_than_it_needs(gateway: Gateway, exchange: Exchange) -> None:
    said = {"user-agent": "a browser", "cookie": "of somebody else", "x-other": "1"}
    await ask(gateway, "/v1/symbols", {**A_KEY, **said})

    (asked,) = exchange.asked
    told = {name for name in asked.attributes.request.http.headers if not name.startswith(":")}
    assert told == {"x-api-key", "x-levimesh-address", "user-agent"}
    assert asked.attributes.request.http.headers["user-agent"] == "a browser", "sessions are shown with it"


async def test_with_a_token_of_the_mesh_auth_is_not_asked(gateway: Gateway, calls: Calls, exchange: Exchange) -> None:
    assert await ask(gateway, "/v1/symbols", {**TRADER, **A_KEY}) == (200, "")

    assert exchange.asked == []
    assert calls.headers["authorization"] == TRADER["authorization"]
    assert "x-api-key" not in calls.headers


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (f"Bearer {a_token('ROLE_ADMIN', key=Ed25519PrivateKey.generate())}", "TOKEN_INVALID"),
        (f"Bearer {a_token('ROLE_ADMIN', iss='elsewhere')}", "TOKEN_INVALID"),
        (f"Bearer {a_token('ROLE_ADMIN', aud='elsewhere')}", "TOKEN_INVALID"),
        (f"Bearer {a_token('ROLE_ADMIN', iat=1, nbf=1, exp=2)}", "TOKEN_EXPIRED"),
        ("Bearer nonsense", "TOKEN_INVALID"),
        ("Bearer ", "TOKEN_MISSING"),
        (f"Basic {base64.b64encode(b'someone:secret').decode()}", "TOKEN_MISSING"),
    ],
)
async def test_a_bad_token_beside_a_good_key_is_refused(
    gateway: Gateway, calls: Calls, exchange: Exchange, authorization: str, expected: str
) -> None:
    assert await ask(gateway, "/v1/symbols", {**A_KEY, "authorization": authorization}) == (401, expected)

    assert (calls.methods, exchange.asked) == ([], [])


async def test_with_nothing_at_all_auth_is_not_asked(gateway: Gateway, exchange: Exchange) -> None:
    assert await ask(gateway, "/v1/symbols", {}) == (401, "TOKEN_MISSING")

    assert exchange.asked == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ApiKeyInvalid(), (401, "API_KEY_INVALID")),
        (AddressNotAllowed("127.0.0.1"), (403, "ADDRESS_NOT_ALLOWED")),
        (Overloaded("too much"), (429, "OVERLOADED")),
    ],
)
async def test_what_auth_denies_is_told_in_its_words(
    gateway: Gateway, calls: Calls, exchange: Exchange, error: MeshError, expected: tuple[int, str]
) -> None:
    exchange.denies(error)

    async with gateway.http.get("/v1/symbols", headers=A_KEY) as response:
        body = await response.json()

    assert (response.status, body["details"][0]["reason"].removeprefix("ERROR_REASON_")) == expected
    assert body["message"] == str(error)
    assert calls.methods == []


async def test_what_auth_denies_is_told_over_grpc_too(gateway: Gateway, exchange: Exchange) -> None:
    exchange.denies(ApiKeyInvalid())
    async with gateway.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await marketdata_service_pb2_grpc.MarketDataServiceStub(channel).ListSymbols(
                marketdata_service_pb2.ListSymbolsRequest(), metadata=tuple(A_KEY.items())
            )

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert error_info(refused.value).reason == "ERROR_REASON_API_KEY_INVALID"


async def test_while_auth_cannot_say_a_key_opens_nothing(gateway: Gateway, calls: Calls, exchange: Exchange) -> None:
    exchange.answer = DependencyUnavailable("the database is away", part="database")

    assert await ask(gateway, "/v1/symbols", A_KEY) == (503, "DEPENDENCY_UNAVAILABLE")
    assert await ask(gateway, "/v1/symbols", TRADER) == (200, "")
    assert calls.methods == ["ListSymbols"]


async def test_where_nobody_has_to_be_known_a_key_is_not_looked_at(gateway: Gateway, exchange: Exchange) -> None:
    assert await ask(gateway, "/.well-known/jwks.json", A_KEY) == (200, "")

    assert exchange.asked == []


async def test_a_service_sees_the_token_that_auth_gives_for_an_outside_one(
    gateway: Gateway, calls: Calls, exchange: Exchange
) -> None:
    theirs = outside(sub="somebody@example.com", groups=["traders"])

    assert await ask(gateway, "/v1/symbols", theirs) == (200, "")

    assert calls.headers["authorization"] == f"Bearer {OWN}"
    (asked,) = exchange.asked
    assert asked.attributes.request.http.headers["authorization"] == theirs["authorization"]
    verified = MessageToDict(asked.attributes.metadata_context.filter_metadata["envoy.filters.http.jwt_authn"])
    assert verified["external_claims"]["sub"] == "somebody@example.com"


@pytest.mark.parametrize(
    "theirs",
    [
        outside(key=Ed25519PrivateKey.generate()),
        outside(aud="levimesh"),
        outside(iss="levimesh"),
        outside(iat=1, nbf=1, exp=2),
    ],
    ids=["of a stranger", "for another audience", "that says it is ours", "that has expired"],
)
async def test_an_outside_token_that_is_not_sound_is_refused_without_asking(
    gateway: Gateway, calls: Calls, exchange: Exchange, theirs: dict[str, str]
) -> None:
    status, _ = await ask(gateway, "/v1/symbols", theirs)

    assert (status, calls.methods, exchange.asked) == (401, [], [])


async def test_the_keys_of_an_outside_issuer_are_fetched_over_tls(certificates: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificates / "edge" / "certificate.pem", certificates / "edge" / "private_key.pem")
    exchange = Exchange()
    exchange.gives(OWN)
    async with (
        published_keys(tls) as uri,
        guarded(
            certificates, Calls(), exchange, ready=knows_the_other_issuer, **beside(uri, certificates / "ca.pem")
        ) as running,
    ):
        assert await ask(running, "/v1/symbols", outside()) == (200, "")


async def test_nobody_else_can_give_out_the_keys_of_an_outside_issuer(certificates: Path, tmp_path: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificates / "edge" / "certificate.pem", certificates / "edge" / "private_key.pem")
    asked = asyncio.Event()
    Authority.open(tmp_path, tmp_path / "private_key.pem").renew([])
    async with (
        published_keys(tls, asked) as uri,
        guarded(certificates, Calls(), Exchange(), **beside(uri, tmp_path / "ca.pem")) as running,
    ):
        assert await ask(running, "/v1/symbols", outside()) == (503, "DEPENDENCY_UNAVAILABLE")
        await refused_a_certificate(running)
    assert not asked.is_set()


async def test_without_an_outside_issuer_its_tokens_are_not_taken(certificates: Path) -> None:
    calls, exchange = Calls(), Exchange()
    async with guarded(certificates, calls, exchange) as running:
        assert await ask(running, "/v1/symbols", outside()) == (401, "TOKEN_INVALID")

    assert exchange.asked == []


async def test_admins_may_be_asked_to_come_from_somewhere(certificates: Path) -> None:
    calls = Calls()
    async with guarded(certificates, calls, Exchange(), admin_networks=("10.0.0.0/8", "fd00::/8")) as running:
        spoofed = {**ADMIN, "x-forwarded-for": "10.1.2.3", "x-real-ip": "10.1.2.3"}

        assert await ask(running, "/v1/users", ADMIN) == (403, "ADDRESS_NOT_ALLOWED")
        assert await ask(running, "/v1/users", spoofed) == (403, "ADDRESS_NOT_ALLOWED")
        assert await ask(running, "/v1/users/me", ADMIN) == (200, "")
    assert calls.methods == ["GetCurrentUser"]


@pytest.mark.parametrize(
    ("settings", "forwarded"),
    [
        ({"admin_networks": ("127.0.0.0/8",)}, {}),
        ({"admin_networks": ("10.0.0.0/8",), "trusted_proxies": 1}, {"x-forwarded-for": "10.1.2.3"}),
    ],
    ids=["from there", "by a proxy that is trusted"],
)
async def test_from_there_they_come_in(certificates: Path, settings: dict[str, Any], forwarded: dict[str, str]) -> None:
    calls = Calls()
    async with guarded(certificates, calls, Exchange(), **settings) as running:
        assert await ask(running, "/v1/users", {**ADMIN, **forwarded}) == (200, "")

    assert calls.headers["x-levimesh-address"] == forwarded.get("x-forwarded-for", "127.0.0.1")
