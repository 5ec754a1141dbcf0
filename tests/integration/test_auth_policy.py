"""Limits that are counted for all gateways together, and the policy as it is told, over mTLS."""

import asyncio
import secrets
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from levimesh.auth.v1 import auth_service_pb2
from levimesh.auth.v1 import policy_service_pb2 as pb
from levimesh.auth.v1 import policy_service_pb2_grpc as pb_grpc
from levimesh.foreign.envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import RateLimitDescriptor
from levimesh.foreign.envoy.service.ratelimit.v3 import rls_pb2
from levimesh.foreign.envoy.type.v3.ratelimit_unit_pb2 import MINUTE
from levimesh.policy.v1 import policy_pb2
from services.auth import contracts
from services.stack.ports import find_free
from services.stack.redis import RedisServer
from tests.api_keys import HOME, Programs, running_programs
from tests.people import Metadata, refusal

LOGIN = "/levimesh.auth.v1.AuthService/Login"
SUBMIT_ORDER = "/levimesh.trading.v1.TradingService/SubmitOrder"
LIST_AUDIT_EVENTS = "/levimesh.auth.v1.AuditService/ListAuditEvents"
GET_PORTFOLIO = "/levimesh.trading.v1.TradingService/GetPortfolio"
OK, OVER_LIMIT = rls_pb2.RateLimitResponse.OK, rls_pb2.RateLimitResponse.OVER_LIMIT
AWAY = (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
MALFORMED = (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_VIOLATION")


@pytest_asyncio.fixture
async def programs(database_url: Callable[[str], str], redis_url: str, certificates: Path) -> AsyncIterator[Programs]:
    async with running_programs(database_url("auth"), redis_url, certificates, replicas=2) as running:
        yield running


@pytest.fixture
def mortal_redis(tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A Redis that a test may kill."""
    server = RedisServer(tmp_path, find_free(1, first=12_000 + secrets.randbelow(18_000))[0], "test")
    asyncio.run(server.prepare())
    with subprocess.Popen(server.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603 - our own command
        yield server.url, process
        process.kill()


def a_call(method: str, subject: str = "", address: str = HOME, tier: str = "") -> rls_pb2.RateLimitRequest:
    """Envoy's question about a call."""
    said = {"method": method, "subject": subject, "address": address, "tier": tier}
    descriptor = RateLimitDescriptor()
    for key, value in said.items():
        if value:
            descriptor.entries.add(key=key, value=value)
    return rls_pb2.RateLimitRequest(domain="levimesh", descriptors=[descriptor])


async def test_of_a_hundred_logins_at_once_through_two_replicas_ten_pass(programs: Programs) -> None:
    counters = [programs.counter(0), programs.counter(1)]

    answers = await asyncio.gather(*(counters[number % 2].ShouldRateLimit(a_call(LOGIN)) for number in range(100)))

    assert [answer.overall_code for answer in answers].count(OK) == 10
    assert [answer.overall_code for answer in answers].count(OVER_LIMIT) == 90


async def test_an_answer_tells_what_the_headers_need(programs: Programs) -> None:
    (first,) = (await programs.counter().ShouldRateLimit(a_call(LOGIN))).statuses
    for _ in range(9):
        await programs.counter().ShouldRateLimit(a_call(LOGIN))
    refused = await programs.counter().ShouldRateLimit(a_call(LOGIN))
    (last,) = refused.statuses

    assert (first.code, first.limit_remaining) == (OK, 9)
    assert (last.code, last.limit_remaining) == (OVER_LIMIT, 0)
    for status in (first, last):
        assert status.current_limit.requests_per_unit == 10
        assert status.current_limit.unit == rls_pb2.RateLimitResponse.RateLimit.MINUTE
        assert 0 < status.duration_until_reset.ToTimedelta().total_seconds() <= 60
    (header,) = refused.response_headers_to_add
    assert header.key == "retry-after"
    assert 0 < int(header.value) <= 60


async def test_the_amount_is_that_of_the_contract_and_the_tier_whatever_the_request_says(programs: Programs) -> None:
    request = a_call(SUBMIT_ORDER, "alice", tier="elevated")
    request.descriptors[0].limit.requests_per_unit = 1_000_000
    request.descriptors[0].limit.unit = MINUTE
    request.hits_addend = 0

    (elevated,) = (await programs.counter().ShouldRateLimit(request)).statuses
    (standard,) = (await programs.counter().ShouldRateLimit(a_call(SUBMIT_ORDER, "alice", tier="standard"))).statuses

    assert elevated.current_limit.requests_per_unit == 1200
    assert standard.current_limit.requests_per_unit == 120


async def test_what_is_no_question_of_this_mesh_is_refused(programs: Programs) -> None:
    counter = programs.counter()
    elsewhere = a_call(LOGIN)
    elsewhere.domain = "another"

    assert await refusal(counter.ShouldRateLimit(elsewhere)) == MALFORMED
    assert await refusal(counter.ShouldRateLimit(a_call("/levimesh.auth.v1.AuthService/Nothing"))) == MALFORMED
    assert await refusal(counter.ShouldRateLimit(a_call(""))) == MALFORMED


@pytest.mark.parametrize("workload", ["stranger", "trading"])
async def test_only_the_gateway_may_ask(programs: Programs, workload: str) -> None:
    refused = await refusal(programs.counter(caller=workload).ShouldRateLimit(a_call(LOGIN)))
    assert refused == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")


async def test_while_redis_is_away_logins_and_orders_are_refused_and_reads_pass(
    database_url: Callable[[str], str], mortal_redis: tuple[str, "subprocess.Popen[bytes]"], certificates: Path
) -> None:
    redis_url, process = mortal_redis
    async with running_programs(database_url("auth"), redis_url, certificates) as programs:
        counter = programs.counter()
        read = a_call(LIST_AUDIT_EVENTS, "alice")
        for call in (a_call(LOGIN), a_call(SUBMIT_ORDER, "alice"), read):
            assert (await counter.ShouldRateLimit(call)).overall_code == OK

        process.kill()
        process.wait()

        assert await refusal(counter.ShouldRateLimit(a_call(LOGIN))) == AWAY
        assert await refusal(counter.ShouldRateLimit(a_call(SUBMIT_ORDER, "alice"))) == AWAY
        for _ in range(100):
            passed = await counter.ShouldRateLimit(read)
            assert passed.overall_code == OK
        assert not passed.statuses[0].HasField("current_limit")
        assert {
            each.method for each in (await limits(programs, programs.ann)).limits if each.HasField("remaining")
        } == set()


async def test_a_load_test_may_call_more(
    database_url: Callable[[str], str], redis_url: str, certificates: Path
) -> None:
    async with running_programs(
        database_url("auth"), redis_url, certificates, LEVIMESH_RATE_LIMIT_SCALE=100
    ) as programs:
        (status,) = (await programs.counter().ShouldRateLimit(a_call(LOGIN))).statuses

        assert status.current_limit.requests_per_unit == 1000


def policy_stub(programs: Programs) -> Any:
    return pb_grpc.PolicyServiceStub(programs.replicas[0].served.channel(contracts.POLICY_SERVICE))


async def limits(programs: Programs, metadata: Metadata, address: str = HOME) -> pb.GetLimitsResponse:
    sent = (*metadata, ("x-levimesh-address", address))
    response: pb.GetLimitsResponse = await policy_stub(programs).GetLimits(pb.GetLimitsRequest(), metadata=sent)
    return response


async def test_a_caller_is_told_its_own_limits_and_what_is_left(programs: Programs) -> None:
    for _ in range(3):
        await programs.counter(1).ShouldRateLimit(a_call(SUBMIT_ORDER, programs.ann_id, tier="standard"))
        await programs.counter(1).ShouldRateLimit(a_call(LOGIN))

    for _ in range(2):
        answer = await limits(programs, programs.ann)
        by_method = {limit.method: limit for limit in answer.limits}
        assert answer.tier == policy_pb2.RATE_TIER_STANDARD
        assert (by_method[SUBMIT_ORDER].calls, by_method[SUBMIT_ORDER].remaining) == (120, 117)
        assert by_method[SUBMIT_ORDER].per.seconds == 60
        assert 0 < by_method[SUBMIT_ORDER].reset_in.ToTimedelta().total_seconds() <= 60
        assert (by_method[LOGIN].calls, by_method[LOGIN].remaining) == (10, 7)
        local = by_method["/levimesh.auth.v1.PolicyService/GetLimits"]
        assert local.calls == 60
        assert not local.HasField("remaining")
        assert not local.HasField("reset_in")
    elsewhere = {limit.method: limit for limit in (await limits(programs, programs.ann, "192.0.2.8")).limits}
    assert elsewhere[SUBMIT_ORDER].remaining == 120


async def test_a_caller_is_told_of_what_it_may_call_and_of_nothing_else(programs: Programs) -> None:
    trader = {limit.method for limit in (await limits(programs, programs.ann)).limits}
    viewer = {limit.method for limit in (await limits(programs, programs.bob)).limits}
    admin = await limits(programs, programs.root)
    key = await programs.check((await programs.create()).secret)
    reading_key = {limit.method for limit in (await limits(programs, key.bearing)).limits}

    assert SUBMIT_ORDER in trader - viewer - reading_key
    assert LIST_AUDIT_EVENTS in {limit.method for limit in admin.limits} - trader
    assert admin.tier == policy_pb2.RATE_TIER_ELEVATED
    assert GET_PORTFOLIO in trader & viewer & reading_key
    assert LOGIN in trader & viewer & reading_key
    assert not any("ratelimit" in method or "ListRevocations" in method for method in trader | viewer)


async def test_the_whole_policy_is_told_to_an_admin_as_it_is_enforced(programs: Programs) -> None:
    answer = await policy_stub(programs).GetPolicy(pb.GetPolicyRequest(), metadata=programs.root)

    by_method = {each.method: each.policy for each in answer.methods}
    assert set(by_method) == {
        f"/{service.full_name}/{method.name}" for service in contracts.MESH for method in service.methods
    }
    assert list(by_method) == sorted(by_method)
    login = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"].methods_by_name["Login"]
    assert by_method[LOGIN] == login.GetOptions().Extensions[policy_pb2.method]
    inherited = by_method["/levimesh.auth.v1.AuthService/Logout"]
    assert inherited.rate_limit.calls == 120
    asked = by_method["/envoy.service.auth.v3.Authorization/Check"]
    assert list(asked.service_callers) == ["gateway"]


async def test_nobody_else_is_told_the_whole_policy(programs: Programs) -> None:
    scopes = ["SCOPE_READ", "SCOPE_TRADE", "SCOPE_ADMIN"]
    administrating = await programs.check((await programs.create(programs.root, scopes=scopes)).secret)
    reading = await programs.check((await programs.create(programs.root)).secret)
    stub = policy_stub(programs)

    assert (await refusal(stub.GetPolicy(pb.GetPolicyRequest(), metadata=programs.ann)))[1] == "ROLE_NOT_ALLOWED"
    assert (await refusal(stub.GetPolicy(pb.GetPolicyRequest(), metadata=reading.bearing)))[1] == "SCOPE_MISSING"
    assert (await stub.GetPolicy(pb.GetPolicyRequest(), metadata=administrating.bearing)).methods
