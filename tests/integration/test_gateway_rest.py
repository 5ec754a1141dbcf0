"""REST through the gateway, with the real auth service behind it."""

import json
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.type import decimal_pb2
from redis import Redis

from levimesh.marketdata.v1 import marketdata_service_pb2 as marketdata_pb
from levimesh.marketdata.v1 import trade_pb2
from levimesh.trading.v1 import order_pb2
from levimesh.trading.v1 import trading_service_pb2 as trading_pb
from services.runtime import timestamps
from services.runtime.errors import NotFound
from services.runtime.migrations import migrate
from services.stack.postgres import Cluster
from services.stack.redis import RedisServer
from tests.auth import ADMIN, ADMIN_PASSWORD, auth_settings, running_auth
from tests.gateway import Calls, Gateway, recorders, running_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

AN_ORDER_ID = "6f1c1f0e-0000-4000-8000-000000000002"
AN_ORDER = {
    "client_order_id": "mine-1",
    "symbol": "BTC-USDT@simex",
    "side": "SIDE_BUY",
    "type": "ORDER_TYPE_MARKET",
    "quantity": {"value": "0.050"},
}


class SymbolNotFound(NotFound):
    reason = "SYMBOL_NOT_FOUND"


async def get_ticker(request: marketdata_pb.GetTickerRequest) -> marketdata_pb.GetTickerResponse:
    if request.symbol != "BTC-USDT@simex":
        raise SymbolNotFound(f"symbol {request.symbol} is not known", symbol=request.symbol)
    moment = timestamps.to_pb(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    price = decimal_pb2.Decimal(value="61250.10")
    ticker = trade_pb2.Ticker(symbol=request.symbol, last_price=price, last_trade_time=moment)
    return marketdata_pb.GetTickerResponse(ticker=ticker)


async def submit_order(request: trading_pb.SubmitOrderRequest) -> trading_pb.SubmitOrderResponse:
    order = order_pb2.Order(order_id=AN_ORDER_ID, quantity=request.quantity, status=order_pb2.ORDER_STATUS_OPEN)
    return trading_pb.SubmitOrderResponse(order=order)


@pytest.fixture(scope="module")
def calls() -> Calls:
    return Calls()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    postgres: Cluster, redis_server: RedisServer, certificates: Path, calls: Calls
) -> AsyncIterator[Gateway]:
    name, password = f"gateway_{secrets.token_hex(6)}", "test"
    await postgres.provide(name, {"auth": password})
    url = postgres.url("auth", password, name)
    # Where logins are counted, by address: those of other tests came from the same.
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
    await migrate("auth", url)
    answers: dict[str, Callable[..., Any]] = {"GetTicker": get_ticker, "SubmitOrder": submit_order}
    async with (
        running_auth(auth_settings(url, redis_url=redis_server.url), certificates) as auth,
        recorders(certificates, calls, "marketdata", "prediction", "trading", **answers) as servers,
    ):
        await auth.create_admin()
        for served in servers.values():
            served.stages.verifier.set_keys(await auth.auth.keys())
        endpoints = {workload: (served.target,) for workload, served in servers.items()}
        async with running_gateway(certificates, {"auth": (auth.served.target,), **endpoints}) as running:
            yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(gateway: Gateway) -> dict[str, str]:
    """The header that an admin sends after a login over REST."""
    _, body = await answer(gateway, "POST", "/v1/auth/login", json={"username": ADMIN, "password": ADMIN_PASSWORD})
    return {"authorization": f"Bearer {body['access_token']}"}


@pytest.fixture(autouse=True)
def forget(calls: Calls) -> None:
    calls.requests.clear()


async def answer(gateway: Gateway, method: str, path: str, **arguments: Any) -> tuple[int, dict[str, Any]]:
    async with gateway.http.request(method, path, **arguments) as response:
        assert response.content_type == "application/json"
        return response.status, json.loads(await response.read())


async def test_health_is_ok_while_every_service_is(gateway: Gateway) -> None:
    assert await answer(gateway, "GET", "/health") == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/v1/auth/login", "/auth/login"])
async def test_a_login_gives_a_token_that_the_gateway_takes(gateway: Gateway, path: str) -> None:
    status, login = await answer(gateway, "POST", path, json={"username": ADMIN, "password": ADMIN_PASSWORD})
    assert (status, login["token_type"], login["expires_in"]) == (200, "Bearer", "300s")

    bearer = {"authorization": f"Bearer {login['access_token']}"}
    status, current = await answer(gateway, "GET", "/v1/users/me", headers=bearer)

    assert (status, current["user"]) == (200, login["user"])


async def test_a_wrong_password_is_told_with_its_reason(gateway: Gateway) -> None:
    status, body = await answer(gateway, "POST", "/v1/auth/login", json={"username": ADMIN, "password": "wrong"})

    assert (status, body["code"], body["message"]) == (401, 16, "the user name or the password is wrong")
    assert body["details"][0]["reason"] == "ERROR_REASON_CREDENTIALS_INVALID"


async def test_every_wrong_field_is_named_at_once(gateway: Gateway, admin: dict[str, str]) -> None:
    wrong = {**AN_ORDER, "symbol": "bitcoin", "quantity": {"value": "-1"}, "side": "SIDE_UNSPECIFIED"}

    status, body = await answer(gateway, "POST", "/v1/orders", headers=admin, json=wrong)

    assert (status, body["code"]) == (400, 3)
    info, bad_request = body["details"]
    assert info["reason"] == "ERROR_REASON_FIELD_VIOLATION"
    assert {found["field"] for found in bad_request["field_violations"]} == {"symbol", "quantity", "side"}


async def test_an_error_of_a_service_keeps_its_reason_and_metadata(gateway: Gateway, admin: dict[str, str]) -> None:
    status, body = await answer(gateway, "GET", "/v1/symbols/XRP-USDT@simex/ticker", headers=admin)

    assert (status, body["code"]) == (404, 5)
    assert body["details"][0]["reason"] == "ERROR_REASON_SYMBOL_NOT_FOUND"
    assert body["details"][0]["metadata"] == {"symbol": "XRP-USDT@simex"}


async def test_numbers_and_times_are_exact(gateway: Gateway, admin: dict[str, str]) -> None:
    _, body = await answer(gateway, "GET", "/v1/symbols/BTC-USDT@simex/ticker", headers=admin)

    assert body["ticker"]["last_price"] == {"value": "61250.10"}
    assert body["ticker"]["last_trade_time"] == "2026-01-02T03:04:05Z"


async def test_a_viewer_may_not_order(gateway: Gateway, calls: Calls, admin: dict[str, str]) -> None:
    viewer = {"username": "vera", "password": "a long password"}
    await answer(gateway, "POST", "/v1/users", headers=admin, json={**viewer, "roles": ["ROLE_VIEWER"]})
    login_status, login = await answer(gateway, "POST", "/v1/auth/login", json=viewer)
    assert login_status == 200, login

    status, body = await answer(
        gateway, "POST", "/v1/orders", headers={"authorization": f"Bearer {login['access_token']}"}, json=AN_ORDER
    )

    assert (status, body["details"][0]["reason"]) == (403, "ERROR_REASON_ROLE_NOT_ALLOWED")
    assert calls.methods == []


async def test_an_order_arrives_as_it_was_sent(gateway: Gateway, calls: Calls, admin: dict[str, str]) -> None:
    status, body = await answer(gateway, "POST", "/v1/orders", headers=admin, json=AN_ORDER)

    ((_, request),) = calls.requests
    assert request.quantity.value == "0.050"
    assert (request.client_order_id, request.side, request.type) == ("mine-1", 1, 1)
    assert (status, body["order"]["status"], body["order"]["version"]) == (200, "ORDER_STATUS_OPEN", "0")


@pytest.mark.parametrize(
    ("method", "path", "content", "expected"),
    [
        ("POST", "/orders/create", AN_ORDER, "SubmitOrder"),
        ("GET", f"/orders/{AN_ORDER_ID}", None, "GetOrder"),
        ("GET", "/portfolio/summary", None, "GetPortfolio"),
        ("POST", "/strategies/signal-follower/start", None, "StartStrategy"),
        ("POST", "/strategies/signal-follower/stop", {}, "StopStrategy"),
        ("POST", "/predict", {"symbol": "BTC-USDT@simex"}, "Predict"),
        ("POST", "/ai/predict", {"symbol": "BTC-USDT@simex"}, "Predict"),
        ("GET", "/models", None, "ListModels"),
        ("POST", f"/v1/orders/{AN_ORDER_ID}:cancel", None, "CancelOrder"),
    ],
)
async def test_paths_lead_to_their_methods(
    gateway: Gateway, calls: Calls, admin: dict[str, str], method: str, path: str, content: Any, expected: str
) -> None:
    status, _ = await answer(gateway, method, path, headers=admin, json=content)

    assert status == 200
    assert calls.methods == [expected]


async def test_the_keys_are_published(gateway: Gateway) -> None:
    status, body = await answer(gateway, "GET", "/.well-known/jwks.json")

    assert status == 200
    (key,) = body["keys"]
    assert key.keys() == {"kty", "crv", "x", "kid", "alg", "use"}
