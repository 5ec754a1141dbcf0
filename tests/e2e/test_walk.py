"""What the README promises, through Envoy: by curl over REST and by `buf curl` over gRPC."""

import json
import uuid
from decimal import Decimal
from typing import Any

import pytest

from levimesh.client import Client
from levimesh.trading.v1 import trading_service_pb2 as pb
from tests.embedded import Mesh

SYMBOL = "BTC-USDT@simex"
JSON = ("-H", "content-type: application/json")


def a_market_order(quantity: str = "0.01") -> dict[str, Any]:
    return {
        "client_order_id": f"e2e-{uuid.uuid4()}",
        "symbol": SYMBOL,
        "side": "SIDE_BUY",
        "type": "ORDER_TYPE_MARKET",
        "quantity": {"value": quantity},
    }


def post(mesh: Mesh, path: str, body: Any, token: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(mesh.curl(path, *JSON, "-d", json.dumps(body), token=token))
    assert "code" not in answer, answer
    return answer


def refusal(mesh: Mesh, *arguments: str, path: str, token: str = "") -> tuple[int, dict[str, Any]]:
    """HTTP status and body of a call that is refused."""
    text = mesh.curl(path, *arguments, "-w", "\n%{http_code}", token=token)
    body, _, status = text.rpartition("\n")
    return int(status), json.loads(body)


def reason(body: dict[str, Any]) -> str:
    """The ErrorInfo's reason in an error over REST."""
    return next((str(detail["reason"]) for detail in body["details"] if "reason" in detail), "")


def test_the_mesh_is_healthy_for_whoever_asks(mesh: Mesh) -> None:
    assert json.loads(mesh.curl("/health")) == {"status": "ok"}


def test_somebody_logs_in_reads_candles_and_predicts(mesh: Mesh, token: str) -> None:
    symbols = json.loads(mesh.curl("/v1/symbols", token=token))["symbols"]
    assert {symbol["symbol"] for symbol in symbols} == {"BTC-USDT@simex", "ETH-USDT@simex"}
    path = f"/v1/symbols/{SYMBOL}/candles?interval=INTERVAL_5M&page_size=3"
    candles = json.loads(mesh.curl(path, token=token))["candles"]
    assert len(candles) == 3
    assert Decimal(candles[0]["low"]["value"]) <= Decimal(candles[0]["high"]["value"])
    prediction = post(mesh, "/v1/predict", {"symbol": SYMBOL}, token)["prediction"]
    assert 0 < prediction["probability_up"] < 1
    assert Decimal(json.loads(mesh.curl(f"/v1/symbols/{SYMBOL}/ticker", token=token))["ticker"]["last_price"]["value"])


def test_the_paths_of_the_older_monolith_answer(mesh: Mesh, token: str) -> None:
    assert post(mesh, "/auth/login", mesh.admin)["token_type"] == "Bearer"
    assert post(mesh, "/predict", {"symbol": SYMBOL}, token) == post(mesh, "/ai/predict", {"symbol": SYMBOL}, token)
    assert json.loads(mesh.curl("/models", token=token))["models"]
    order = post(mesh, "/orders/create", a_market_order(), token)["order"]
    assert json.loads(mesh.curl(f"/orders/{order['order_id']}", token=token))["order"] == order
    assert "equity" in json.loads(mesh.curl("/portfolio/summary", token=token))["portfolio"]
    for verb, state in (("stop", "STRATEGY_STATE_STOPPED"), ("start", "STRATEGY_STATE_RUNNING")):
        assert post(mesh, f"/strategies/signal-follower/{verb}", {}, token)["strategy"]["state"] == state


def test_the_signal_stream_can_be_read_with_curl(mesh: Mesh, token: str) -> None:
    lines = mesh.curl("/v1/signals:stream", "--max-time", "10", token=token, check=False).splitlines()
    first = json.loads(lines[0])
    assert "heartbeat" in first or "signals" in first
    assert first["resume_token"]


def test_an_order_sent_twice_is_placed_once(mesh: Mesh, token: str) -> None:
    order = a_market_order()
    first, second = (post(mesh, "/v1/orders", order, token)["order"] for _ in range(2))
    assert first["status"] == "ORDER_STATUS_FILLED"
    assert second == first
    status, body = refusal(
        mesh, *JSON, "-d", json.dumps({**order, "quantity": {"value": "0.02"}}), path="/v1/orders", token=token
    )
    assert (status, reason(body)) == (409, "ERROR_REASON_CLIENT_ORDER_ID_REUSED")


async def test_the_same_by_buf_curl_and_by_the_python_client(mesh: Mesh) -> None:
    token = mesh.buf_curl("levimesh.auth.v1.AuthService/Login", mesh.admin)["accessToken"]
    market, trading = "levimesh.marketdata.v1.MarketDataService", "levimesh.trading.v1.TradingService"
    request = {"symbol": SYMBOL, "interval": "INTERVAL_5M", "pageSize": 3}
    assert len(mesh.buf_curl(f"{market}/GetCandles", request, token)["candles"]) == 3
    predict = "levimesh.prediction.v1.PredictionService/Predict"
    assert mesh.buf_curl(predict, {"symbol": SYMBOL}, token)["prediction"]["predictionId"]
    order = mesh.buf_curl(f"{trading}/SubmitOrder", a_market_order(), token)["order"]
    assert mesh.buf_curl(f"{trading}/GetPortfolio", {}, token)["portfolio"]["equity"]
    async with Client.connect(mesh.profile) as client:
        same = await client.trading.GetOrder(pb.GetOrderRequest(order_id=order["orderId"]))
    assert same.order.client_order_id == order["clientOrderId"]


def test_the_command_line_shows_the_account(mesh: Mesh) -> None:
    bought = mesh.levimesh("order", "buy", SYMBOL, "0.01")
    assert "filled" in bought.stdout
    assert "Equity" in mesh.levimesh("portfolio").stdout
    assert SYMBOL in mesh.levimesh("watch", "--for", "3").stdout
    assert mesh.levimesh("status").returncode == 0


def test_a_viewer_reads_and_may_not_order(mesh: Mesh, token: str) -> None:
    viewer = {"username": f"viewer-{uuid.uuid4().hex[:8]}", "password": "a long enough password"}
    post(mesh, "/v1/users", {**viewer, "roles": ["ROLE_VIEWER"]}, token)
    viewers = post(mesh, "/v1/auth/login", viewer)["access_token"]
    assert json.loads(mesh.curl("/v1/symbols", token=viewers))["symbols"]
    status, body = refusal(mesh, *JSON, "-d", json.dumps(a_market_order()), path="/v1/orders", token=viewers)
    assert (status, reason(body)) == (403, "ERROR_REASON_ROLE_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("path", "arguments", "expected"),
    [
        pytest.param("/v1/orders", ["-d", "{not json"], (400, ""), id="malformed JSON"),
        pytest.param(
            "/v1/orders",
            ["-d", json.dumps({**a_market_order(), "quantity": {"value": "-1"}})],
            (400, "ERROR_REASON_FIELD_VIOLATION"),
            id="negative quantity",
        ),
        pytest.param(
            "/v1/orders",
            ["-d", json.dumps(a_market_order("0.0000000001"))],
            (400, "ERROR_REASON_PRECISION_EXCEEDED"),
            id="over-precise quantity",
        ),
        pytest.param(
            "/v1/orders",
            ["-d", json.dumps({**a_market_order(), "symbol": "XRP-USDT@simex"})],
            (404, "ERROR_REASON_SYMBOL_NOT_FOUND"),
            id="unknown symbol",
        ),
        pytest.param(
            "/v1/orders",
            ["-d", json.dumps(a_market_order("1000000"))],
            (400, "ERROR_REASON_INSUFFICIENT_FUNDS"),
            id="more than the account can pay",
        ),
        pytest.param("/v1/nothing", [], (404, ""), id="unknown path"),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(
    mesh: Mesh, token: str, path: str, arguments: list[str], expected: tuple[int, str]
) -> None:
    before = json.loads(mesh.curl("/v1/orders?page_size=1", token=token))
    status, body = refusal(mesh, *JSON, *arguments, path=path, token=token)
    assert status == expected[0]
    assert body["message"]
    if expected[1]:
        assert reason(body) == expected[1]
    assert json.loads(mesh.curl("/v1/orders?page_size=1", token=token)) == before


def test_every_wrong_field_is_named_at_once(mesh: Mesh, token: str) -> None:
    _, body = refusal(mesh, *JSON, "-d", json.dumps({"symbol": "btc"}), path="/v1/orders", token=token)
    violations = next(detail["field_violations"] for detail in body["details"] if "field_violations" in detail)
    assert {violation["field"] for violation in violations} >= {"client_order_id", "symbol", "side", "type", "quantity"}


def test_an_oversized_body_is_refused(mesh: Mesh, token: str) -> None:
    big = json.dumps({"client_order_id": "x" * 2_000_000})
    path = mesh.state / "big.json"
    path.write_text(big)
    status, body = refusal(mesh, *JSON, "-d", f"@{path}", path="/v1/orders", token=token)
    assert status == 413
    assert body["message"]


@pytest.mark.parametrize("kind", ["missing", "altered", "nonsense"])
def test_without_a_good_token_nothing_is_told(mesh: Mesh, token: str, kind: str) -> None:
    bad = {"missing": "", "altered": token[:-6] + "AAAAAA", "nonsense": "nonsense"}[kind]
    status, body = refusal(mesh, path="/v1/portfolio", token=bad)
    assert status == 401
    assert body["message"]


def test_a_wrong_password_is_refused(mesh: Mesh) -> None:
    wrong = {**mesh.admin, "password": "not the password"}
    status, body = refusal(mesh, *JSON, "-d", json.dumps(wrong), path="/v1/auth/login")
    assert (status, reason(body)) == (401, "ERROR_REASON_CREDENTIALS_INVALID")
