"""How often may be called is what the contract says: each caller apart, by Envoy's own buckets or by auth for all."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gateway.contracts import SERVICES
from levimesh.foreign.envoy.service.auth.v3 import external_auth_pb2
from levimesh.foreign.envoy.service.ratelimit.v3 import rls_pb2
from levimesh.foreign.envoy.type.v3 import http_status_pb2
from levimesh.prediction.v1 import prediction_service_pb2 as pb
from levimesh.prediction.v1 import prediction_service_pb2_grpc as pb_grpc
from services.runtime.errors import DependencyUnavailable
from tests.gateway import Calls, Gateway, recorders, running_gateway
from tests.mesh import a_token, bearing, details_of, error_info

pytestmark = pytest.mark.asyncio(loop_scope="module")

PREDICT, SUBMIT, AUDIT = "/v1/predict", "/v1/orders", "/v1/audit/events"
AN_ORDER = {
    "client_order_id": "mine-1",
    "symbol": "BTC-USDT@simex",
    "side": "SIDE_BUY",
    "type": "ORDER_TYPE_MARKET",
    "quantity": {"value": "0.050"},
}
A_TWENTIETH = 0.05
"""Of the 60 calls a minute that the contract allows: three, one more every twenty seconds."""
users: Iterator[str] = (f"6f1c1f0e-0000-4000-8000-{number:012}" for number in range(1000))


def somebody(**claims: Any) -> dict[str, str]:
    """The header of a user who has not called yet."""
    return {"authorization": f"Bearer {a_token('ROLE_TRADER', 'ROLE_ADMIN', user_id=next(users), **claims)}"}


@dataclass
class Counter:
    """Auth, as it counts for all gateways."""

    asked: list[dict[str, str]] = field(default_factory=list)
    answer: rls_pb2.RateLimitResponse | Exception = field(default_factory=rls_pb2.RateLimitResponse)

    async def should_rate_limit(self, request: rls_pb2.RateLimitRequest) -> rls_pb2.RateLimitResponse:
        assert request.domain == "levimesh"
        (descriptor,) = request.descriptors
        self.asked.append({entry.key: entry.value for entry in descriptor.entries})
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def says(self, code: "rls_pb2.RateLimitResponse.Code.ValueType", remaining: int, seconds: int) -> None:
        minute = rls_pb2.RateLimitResponse.RateLimit(
            requests_per_unit=60, unit=rls_pb2.RateLimitResponse.RateLimit.MINUTE
        )
        status = rls_pb2.RateLimitResponse.DescriptorStatus(
            code=code, current_limit=minute, limit_remaining=remaining, duration_until_reset=Duration(seconds=seconds)
        )
        self.answer = rls_pb2.RateLimitResponse(overall_code=code, statuses=[status])


@dataclass
class Keys:
    """Auth, to which no API key is known."""

    asked: int = 0

    async def check(self, _: Any) -> external_auth_pb2.CheckResponse:
        self.asked += 1
        denied = external_auth_pb2.DeniedHttpResponse(
            status=http_status_pb2.HttpStatus(code=http_status_pb2.Unauthorized)
        )
        return external_auth_pb2.CheckResponse(
            status=status_pb2.Status(code=code_pb2.UNAUTHENTICATED), denied_response=denied
        )


@asynccontextmanager
async def counting_gateway(
    certificates: Path, calls: Calls, counter: Counter, scale: float, keys: Keys | None = None
) -> AsyncIterator[Gateway]:
    async def stream_signals(_: Any) -> AsyncIterator[pb.StreamSignalsResponse]:
        for number in range(5):
            yield pb.StreamSignalsResponse(resume_token=str(number))

    answers: dict[str, Any] = {"ShouldRateLimit": counter.should_rate_limit, "StreamSignals": stream_signals}
    if keys is not None:
        answers["Check"] = keys.check
    async with recorders(certificates, calls, *SERVICES, **answers) as servers:
        endpoints = {workload: (served.target,) for workload, served in servers.items()}
        async with running_gateway(certificates, endpoints, LEVIMESH_RATE_LIMIT_SCALE=scale) as running:
            yield running


@pytest.fixture(scope="module")
def calls() -> Calls:
    return Calls()


@pytest.fixture(scope="module")
def counter() -> Counter:
    return Counter()


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(certificates: Path, calls: Calls, counter: Counter, keys: Keys) -> AsyncIterator[Gateway]:
    async with counting_gateway(certificates, calls, counter, A_TWENTIETH, keys) as running:
        yield running


@pytest.fixture(autouse=True)
def forget(calls: Calls, counter: Counter) -> None:
    calls.requests.clear()
    counter.asked.clear()
    counter.says(rls_pb2.RateLimitResponse.OK, remaining=59, seconds=7)


async def statuses(gateway: Gateway, headers: dict[str, str], times: int) -> list[int]:
    found = []
    for _ in range(times):
        async with gateway.http.post(PREDICT, headers=headers, json={"symbol": "BTC-USDT@simex"}) as response:
            found.append(response.status)
    return found


async def ask(gateway: Gateway, method: str, path: str, **arguments: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
    async with gateway.http.request(method, path, **arguments) as response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return response.status, json.loads(await response.read()), headers


async def test_each_user_has_the_calls_that_the_contract_allows(gateway: Gateway, calls: Calls) -> None:
    eager, other = somebody(), somebody()

    assert await statuses(gateway, eager, 5) == [200, 200, 200, 429, 429]
    assert await statuses(gateway, other, 1) == [200]
    assert calls.methods == ["Predict"] * 4


async def test_a_token_of_the_elevated_tier_has_ten_times_as_many(gateway: Gateway) -> None:
    assert set(await statuses(gateway, somebody(tier="elevated"), 20)) == {200}


@pytest.mark.parametrize("tier", ["standard", "unheard-of"])
async def test_any_other_tier_has_what_the_standard_one_has(gateway: Gateway, tier: str) -> None:
    assert await statuses(gateway, somebody(tier=tier), 4) == [200, 200, 200, 429]


async def test_a_client_gains_nothing_by_saying_who_it_is(gateway: Gateway) -> None:
    eager = somebody()
    said = [{"x-levimesh-tier": "elevated"}, {"X-LeviMesh-Subject": "another"}, {"x-forwarded-for": "203.0.113.9"}]

    assert await statuses(gateway, eager, 3) == [200, 200, 200]
    assert [await statuses(gateway, {**eager, **more}, 1) for more in said] == [[429]] * 3


async def test_the_limits_of_methods_are_apart(gateway: Gateway) -> None:
    eager = somebody()
    await statuses(gateway, eager, 4)

    status, _, _ = await ask(gateway, "GET", "/v1/models", headers=eager)

    assert status == 200


async def test_public_methods_are_limited_by_address(gateway: Gateway) -> None:
    found = [
        (await ask(gateway, "GET", "/.well-known/jwks.json", headers=somebody() if odd % 2 else {}))[0]
        for odd in range(8)
    ]

    assert found == [200] * 6 + [429] * 2, "a twentieth of 120, whoever it is"


async def test_a_refusal_says_what_is_allowed_and_when_to_come_again(gateway: Gateway) -> None:
    eager = somebody()
    await statuses(gateway, eager, 3)

    status, body, headers = await ask(gateway, "POST", PREDICT, headers=eager, json={"symbol": "BTC-USDT@simex"})

    info, retry = body["details"]
    assert (status, body["code"], info["reason"]) == (429, 8, "ERROR_REASON_RATE_LIMITED")
    assert retry == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retry_delay": "20s"}
    assert headers["retry-after"] == "20"
    assert (headers["ratelimit-limit"], headers["ratelimit-remaining"]) == ("3", "0")
    assert 0 < int(headers["ratelimit-reset"]) <= 20


async def test_a_refusal_over_grpc_says_the_same(gateway: Gateway) -> None:
    user = a_token("ROLE_TRADER", user_id=next(users))
    async with gateway.channel() as channel:
        predict = pb_grpc.PredictionServiceStub(channel).Predict
        for _ in range(3):
            await predict(pb.PredictRequest(symbol="BTC-USDT@simex"), metadata=bearing(user))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await predict(pb.PredictRequest(symbol="BTC-USDT@simex"), metadata=bearing(user))

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error_info(refused.value).reason == "ERROR_REASON_RATE_LIMITED"
    assert details_of(refused.value, error_details_pb2.RetryInfo).retry_delay == Duration(seconds=20)


async def test_a_caller_has_no_more_calls_by_taking_both_ways_in(gateway: Gateway, calls: Calls) -> None:
    user = next(users)
    token = a_token("ROLE_TRADER", user_id=user)
    async with gateway.channel() as channel:
        for _ in range(2):
            await pb_grpc.PredictionServiceStub(channel).Predict(
                pb.PredictRequest(symbol="BTC-USDT@simex"), metadata=bearing(token)
            )

    assert await statuses(gateway, {"authorization": f"Bearer {token}"}, 3) == [200, 429, 429]
    assert calls.methods == ["Predict"] * 3


async def test_a_flood_of_wrong_api_keys_does_not_reach_auth(gateway: Gateway, keys: Keys) -> None:
    allowed = 50  # a twentieth of 1000
    keys_in_turn, found = (f"lm_{number}" for number in range(allowed + 9)), []
    for key in keys_in_turn:
        async with gateway.http.get("/v1/models", headers={"x-api-key": key}) as response:
            found.append(response.status)
    status, body, headers = await ask(gateway, "GET", "/v1/models", headers={"x-api-key": "lm_more"})

    assert [*found, status] == [401] * allowed + [429] * 10
    assert keys.asked == allowed
    assert body["details"][0]["reason"] == "ERROR_REASON_RATE_LIMITED"
    assert headers["retry-after"] == "1"
    assert (await ask(gateway, "GET", "/v1/models", headers=somebody()))[0] == 200, "whoever has a token is let in"
    async with gateway.http.get("/.well-known/openid-configuration", headers={"x-api-key": "lm_more"}) as public:
        assert public.status == 200, "nobody is asked there"


async def test_an_answer_says_how_many_calls_are_left(gateway: Gateway) -> None:
    user = somebody()
    left = []
    for _ in range(2):
        async with gateway.http.post(PREDICT, headers=user, json={"symbol": "BTC-USDT@simex"}) as response:
            left.append((response.headers["ratelimit-limit"], response.headers["ratelimit-remaining"]))

    assert left == [("3", "2"), ("3", "1")]


async def test_a_stream_counts_once_however_much_it_says(gateway: Gateway) -> None:
    user = somebody()
    left = []
    for _ in range(2):
        async with gateway.http.get("/v1/signals:stream", headers=user) as response:
            assert len((await response.read()).splitlines()) == 5
            left.append(int(response.headers["ratelimit-remaining"]))

    assert left == [29, 28], "a twentieth of 600"


async def test_calls_that_count_for_all_gateways_are_counted_by_auth(gateway: Gateway, counter: Counter) -> None:
    status, _, headers = await ask(gateway, "POST", SUBMIT, headers=somebody(tier="elevated"), json=AN_ORDER)

    assert status == 200
    (asked,) = counter.asked
    assert asked.pop("subject").startswith("6f1c1f0e-0000-4000-8000-")
    assert asked == {
        "method": "/levimesh.trading.v1.TradingService/SubmitOrder",
        "address": "127.0.0.1",
        "tier": "elevated",
    }
    assert (headers["ratelimit-remaining"], headers["ratelimit-reset"]) == ("59", "7")


async def test_public_calls_are_counted_by_address_alone(gateway: Gateway, counter: Counter) -> None:
    await ask(gateway, "POST", "/v1/auth/login", headers={"x-levimesh-subject": "root"}, json={"username": "root"})

    assert counter.asked == [{"method": "/levimesh.auth.v1.AuthService/Login", "address": "127.0.0.1"}]


async def test_what_auth_counts_too_many_is_refused(gateway: Gateway, counter: Counter, calls: Calls) -> None:
    counter.says(rls_pb2.RateLimitResponse.OVER_LIMIT, remaining=0, seconds=7)

    status, body, headers = await ask(gateway, "POST", SUBMIT, headers=somebody(), json=AN_ORDER)

    info, retry = body["details"]
    assert (status, info["reason"], retry["retry_delay"]) == (429, "ERROR_REASON_RATE_LIMITED", "10s")
    assert (headers["retry-after"], headers["ratelimit-reset"]) == ("10", "7")
    assert calls.methods == []


async def test_a_call_that_is_refused_anyway_is_not_counted(gateway: Gateway, counter: Counter) -> None:
    status, _, _ = await ask(gateway, "POST", SUBMIT, headers={}, json=AN_ORDER)

    assert (status, counter.asked) == (401, [])


async def test_auth_is_not_asked_about_calls_that_each_gateway_counts(gateway: Gateway, counter: Counter) -> None:
    await statuses(gateway, somebody(), 4)

    assert counter.asked == []


async def test_while_nobody_counts_orders_are_refused_and_reads_pass(
    gateway: Gateway, counter: Counter, calls: Calls
) -> None:
    counter.answer = DependencyUnavailable("Redis is away", part="redis")

    order, body, headers = await ask(gateway, "POST", SUBMIT, headers=somebody(), json=AN_ORDER)
    read, _, _ = await ask(gateway, "GET", AUDIT, headers=somebody())

    assert (order, body["details"][0]["reason"]) == (503, "ERROR_REASON_DEPENDENCY_UNAVAILABLE")
    assert headers["retry-after"] == "1"
    assert read == 200
    assert calls.methods == ["ListAuditEvents"]


async def test_for_a_load_test_the_limits_can_be_off(certificates: Path) -> None:
    counter = Counter()
    async with counting_gateway(certificates, Calls(), counter, 0) as unlimited:
        assert set(await statuses(unlimited, somebody(), 70)) == {200}
        status, _, headers = await ask(unlimited, "POST", SUBMIT, headers=somebody(), json=AN_ORDER)

    assert (status, counter.asked) == (200, [])
    assert not [name for name in headers if "ratelimit" in name]
