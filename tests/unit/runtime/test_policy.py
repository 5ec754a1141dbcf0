"""The contract's policies, and who they let in."""

from dataclasses import replace

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2
from google.protobuf.descriptor import ServiceDescriptor

from gateway.contracts import SERVICES
from levimesh.policy.v1 import policy_pb2
from services.runtime.errors import MeshError
from services.runtime.identity import (
    CallerNotAllowed,
    RoleNotAllowed,
    ScopeMissing,
    TokenMissing,
    authorize,
)
from services.runtime.policy import Policy, PolicyError, RateLimit, StreamLimit, policies
from services.runtime.tokens import TokenVerifier
from tests.mesh import AUDIENCE, ISSUER, a_token, public_keys

A_POLICY = Policy(
    method="/s/M",
    roles=frozenset({"ROLE_TRADER"}),
    scopes=frozenset({"trade"}),
    callers=frozenset({"gateway"}),
    service_callers=frozenset({"stack"}),
    public=False,
    deadline=2.0,
    audit=False,
)

A_SECOND = duration_pb2.Duration(seconds=1)
FIVE_A_MINUTE = policy_pb2.RateLimit(calls=5, per=duration_pb2.Duration(seconds=60))
FOR_USERS: dict[str, object] = {
    "idempotency": 1,
    "roles": [1],
    "callers": ["gateway"],
    "deadline": {"seconds": 1},
}
LIMITED: dict[str, object] = {
    "idempotency": 1,
    "roles": [1],
    "callers": ["gateway"],
    "rate_limit": {"calls": 1, "per": {"seconds": 1}},
}
"""Of a stream for users, but for its limit."""


def a_verifier() -> TokenVerifier:
    verifier = TokenVerifier(ISSUER, AUDIENCE)
    verifier.set_keys(public_keys())
    return verifier


def a_service(
    policy: policy_pb2.MethodPolicy | None,
    of_service: policy_pb2.ServicePolicy | None = None,
    *,
    streams: bool = False,
) -> ServiceDescriptor:
    """A service with one method that has ``policy``, unary unless it ``streams``."""
    file = descriptor_pb2.FileDescriptorProto(name="a.proto", package="a", syntax="proto3")
    file.message_type.add(name="Nothing")
    service = file.service.add(name="Service")
    method = service.method.add(name="Do", input_type=".a.Nothing", output_type=".a.Nothing", server_streaming=streams)
    if of_service is not None:
        service.options.Extensions[policy_pb2.service].CopyFrom(of_service)
    if policy is not None:
        method.options.Extensions[policy_pb2.method].CopyFrom(policy)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName("a.Service")


@pytest.mark.parametrize(
    "service",
    [service for services in SERVICES.values() for service in services],
    ids=lambda service: service.name,
)
def test_every_method_of_the_contracts_has_a_sound_policy(service: ServiceDescriptor) -> None:
    found = policies(service)
    assert len(found) == len(service.methods)
    for method in service.methods:
        policy = found[f"/{service.full_name}/{method.name}"]
        limited = method.server_streaming and bool(policy.roles or policy.public)
        assert (policy.stream_limit is not None) == limited


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        (None, "has no levimesh.policy.v1.method option"),
        ({"public": True, "callers": ["gateway"], "deadline": {"seconds": 1}}, "does not say what a retry does"),
        ({"idempotency": 1, "deadline": {"seconds": 1}}, "lets nobody in"),
        ({"idempotency": 1, "roles": [1], "deadline": {"seconds": 1}}, "names no callers"),
        ({"idempotency": 1, "public": True, "callers": ["gateway"]}, "has no deadline"),
        (
            {
                "idempotency": 1,
                "roles": [1],
                "callers": ["gateway"],
                "service_callers": ["gateway"],
                "deadline": {"seconds": 1},
            },
            "without a user's token",
        ),
        ({"idempotency": 1, "public": True, "roles": [1], "callers": ["gateway"]}, "choose one"),
        ({**FOR_USERS}, "can be reached by users and has no rate_limit"),
        ({**FOR_USERS, "rate_limit": {"per": {"seconds": 60}}}, "rate_limit without calls"),
        ({**FOR_USERS, "rate_limit": {"calls": 1}}, "without a span"),
        ({**FOR_USERS, "rate_limit": {"calls": 1, "per": {"seconds": 60}, "across_replicas": True}}, "outage"),
        (
            {**FOR_USERS, "rate_limit": {"calls": 1, "per": {"seconds": 60}, "tiers": [{"tier": 1, "calls": 9}]}},
            "tiers",
        ),
        ({**FOR_USERS, "rate_limit": {"calls": 1, "per": {"seconds": 60}, "tiers": [{"calls": 9}]}}, "tiers"),
    ],
)
def test_a_method_without_a_sound_policy_is_named(policy: dict[str, object] | None, problem: str) -> None:
    service = a_service(None if policy is None else policy_pb2.MethodPolicy(**policy))  # type: ignore[arg-type] # wide
    with pytest.raises(PolicyError, match=rf"a\.Service\.Do: .*{problem}"):
        policies(service)


@pytest.mark.parametrize(
    ("policy", "streams", "problem"),
    [
        ({**LIMITED}, True, "can be reached by users and has no stream_limit"),
        ({**LIMITED, "stream_limit": {"instruments": 7}}, True, "can be reached by users and has no stream_limit"),
        ({**LIMITED, "deadline": {"seconds": 1}, "stream_limit": {"streams": 1}}, False, "has a stream_limit"),
        ({**LIMITED, "stream_limit": {"streams": 1}, "audit": True}, True, "asks for audit"),
    ],
)
def test_a_stream_without_a_sound_policy_is_named(policy: dict[str, object], streams: bool, problem: str) -> None:
    service = a_service(policy_pb2.MethodPolicy(**policy), streams=streams)  # type: ignore[arg-type] # wide
    with pytest.raises(PolicyError, match=rf"a\.Service\.Do: .*{problem}"):
        policies(service)


def test_callers_of_the_tier_elevated_may_have_ten_times_as_many_streams() -> None:
    limited = policy_pb2.MethodPolicy(**LIMITED, stream_limit={"streams": 3, "instruments": 5})  # type: ignore[arg-type] # wide
    limit = policies(a_service(limited, streams=True))["/a.Service/Do"].stream_limit
    assert limit == StreamLimit(3, 5)
    assert limit.elevated == 30


def test_a_stream_that_no_user_reaches_needs_no_limit() -> None:
    alone = policy_pb2.MethodPolicy(idempotency=policy_pb2.IDEMPOTENCY_READ_ONLY, service_callers=["stack"])
    assert policies(a_service(alone, streams=True))["/a.Service/Do"].stream_limit is None


def test_a_method_has_the_rate_limit_of_its_service_unless_it_has_its_own() -> None:
    of_service = policy_pb2.ServicePolicy(rate_limit=FIVE_A_MINUTE)
    without = a_service(policy_pb2.MethodPolicy(**FOR_USERS), of_service)  # type: ignore[arg-type] # wide
    assert policies(without)["/a.Service/Do"].rate_limit == RateLimit({"standard": 5, "elevated": 50}, 60.0)

    own = {
        "calls": 7,
        "per": {"seconds": 1},
        "tiers": [{"tier": 2, "calls": 8}],
        "across_replicas": True,
        "outage": policy_pb2.OUTAGE_REFUSE,
    }
    with_own = a_service(policy_pb2.MethodPolicy(**FOR_USERS, rate_limit=own), of_service)  # type: ignore[arg-type] # wide
    expected = RateLimit({"standard": 7, "elevated": 8}, 1.0, across_replicas=True, refused_in_outage=True)
    assert policies(with_own)["/a.Service/Do"].rate_limit == expected


def test_a_method_that_no_user_reaches_has_no_rate_limit() -> None:
    alone = policy_pb2.MethodPolicy(
        idempotency=policy_pb2.IDEMPOTENCY_NONE, service_callers=["stack"], deadline=A_SECOND
    )
    of_service = policy_pb2.ServicePolicy(rate_limit=FIVE_A_MINUTE)
    assert policies(a_service(alone, of_service))["/a.Service/Do"].rate_limit is None


def test_a_user_with_the_role_is_let_in_through_a_caller() -> None:
    caller = authorize(A_POLICY, "gateway", a_token("ROLE_TRADER", sub="someone's id"), a_verifier())
    assert caller.workload == "gateway"
    assert caller.user is not None
    assert caller.user.user_id == "someone's id"


FROM_OUTSIDE = {"x-levimesh-address": "203.0.113.7", "user-agent": "a browser"}


def test_the_gateway_tells_where_a_call_came_from() -> None:
    caller = authorize(A_POLICY, "gateway", a_token("ROLE_TRADER"), a_verifier(), FROM_OUTSIDE)
    assert (caller.address, caller.user_agent) == ("203.0.113.7", "a browser")


def test_nobody_but_the_gateway_is_believed_where_a_call_came_from() -> None:
    for workload in ("telegram", "stack"):
        policy = replace(A_POLICY, callers=A_POLICY.callers | {"telegram"})
        token = a_token("ROLE_TRADER") if workload == "telegram" else None
        caller = authorize(policy, workload, token, a_verifier(), FROM_OUTSIDE)
        assert (caller.address, caller.user_agent) == ("", "")


def test_a_service_caller_is_let_in_without_a_user() -> None:
    assert authorize(A_POLICY, "stack", None, a_verifier()).user is None


@pytest.mark.parametrize(
    ("workload", "token", "refusal"),
    [
        ("gateway", None, TokenMissing),
        ("gateway", a_token("ROLE_VIEWER"), RoleNotAllowed),
        ("gateway", a_token("ROLE_TRADER", scope="read"), ScopeMissing),
        ("prediction", a_token("ROLE_TRADER"), CallerNotAllowed),
        ("stack", a_token("ROLE_TRADER"), CallerNotAllowed),
        ("", a_token("ROLE_TRADER"), CallerNotAllowed),
    ],
)
def test_everybody_else_is_refused(workload: str, token: str | None, refusal: type[MeshError]) -> None:
    with pytest.raises(refusal):
        authorize(A_POLICY, workload, token, a_verifier())


@pytest.mark.parametrize(
    ("scopes", "told"),
    [({"trade"}, "this needs one of the scopes trade"), (set(), "this needs somebody who has logged in")],
)
def test_a_token_that_is_limited_to_scopes_is_told_what_is_missing(scopes: set[str], told: str) -> None:
    with pytest.raises(ScopeMissing, match=told):
        authorize(
            replace(A_POLICY, scopes=frozenset(scopes)), "gateway", a_token("ROLE_TRADER", scope="read"), a_verifier()
        )
