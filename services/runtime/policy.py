"""The contract's policy of each method, checked and made ready when a server starts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from levimesh.auth.v1 import edge_pb2
from levimesh.policy.v1 import policy_pb2

STANDARD, ELEVATED = "standard", "elevated"
"""Rate tiers, as access tokens tell them."""
RATE_LIMIT_SCALE = "LEVIMESH_RATE_LIMIT_SCALE"
"""The variable by which all rate limits are scaled: the one that the gateway reads, and auth, which tells of them."""

_MORE_WHEN_ELEVATED = 10
_TIERS = {policy_pb2.RATE_TIER_STANDARD: STANDARD, policy_pb2.RATE_TIER_ELEVATED: ELEVATED}
_FOREIGN = {
    foreign.method: foreign.policy for foreign in edge_pb2.DESCRIPTOR.GetOptions().Extensions[policy_pb2.foreign]
}
"""Policies of methods of contracts that are not ours, by the method's full name."""


class PolicyError(Exception):
    """A contract's policy is missing or contradicts itself; the server does not start."""


@dataclass(frozen=True)
class RateLimit:
    """How often one user from one address may call, or one address without a user; see levimesh.policy.v1.RateLimit."""

    calls: Mapping[str, int]
    """The largest number of calls by tier."""
    seconds: float
    """The span in which they are counted."""
    across_replicas: bool = False
    """Whether they are counted for all gateways together."""
    refused_in_outage: bool = False
    """Whether calls that cannot be counted for all gateways together are refused."""


@dataclass(frozen=True)
class StreamLimit:
    """What the open streams of one caller may cost a replica; see levimesh.policy.v1.StreamLimit."""

    streams: int
    """The largest number of open streams of a caller of the tier STANDARD."""
    instruments: int
    """The largest number of instruments of one stream; 0 where streams have none."""

    @property
    def elevated(self) -> int:
        """The largest number of open streams of a caller of the tier ELEVATED."""
        return self.streams * _MORE_WHEN_ELEVATED


@dataclass(frozen=True)
class Policy:
    """What is decided about a call before its content is looked at; see levimesh.policy.v1.MethodPolicy."""

    method: str
    """The path, ``/levimesh.trading.v1.TradingService/SubmitOrder``."""
    roles: frozenset[str]
    scopes: frozenset[str]
    callers: frozenset[str]
    service_callers: frozenset[str]
    public: bool
    deadline: float | None
    """Seconds; None for streams."""
    audit: bool
    rate_limit: RateLimit | None = None
    """The method's own or its service's; None only for methods that no user reaches."""
    stream_limit: StreamLimit | None = None
    """Of methods that answer with a stream; None only for those that no user reaches."""
    client_streaming: bool = False
    """Whether the caller sends a stream of requests."""


def policies(service: ServiceDescriptor) -> Mapping[str, Policy]:
    """The policy of every method of ``service`` by path. Raises PolicyError naming each one without a sound policy."""
    found, problems = {}, []
    for method in service.methods:
        try:
            policy = _policy(method)
        except PolicyError as error:
            problems.append(f"{method.full_name}: {error}")
        else:
            found[policy.method] = policy
    if problems:
        raise PolicyError("; ".join(problems))
    return found


def effective_policy(method: MethodDescriptor) -> policy_pb2.MethodPolicy:
    """What holds for ``method``, as the contracts say it, its rate limit that of its service where it has none.

    Raises PolicyError when nothing says so.
    """
    options = method.GetOptions()
    policy = policy_pb2.MethodPolicy()
    if options.HasExtension(policy_pb2.method):
        policy.CopyFrom(options.Extensions[policy_pb2.method])
    elif method.full_name in _FOREIGN:
        policy.CopyFrom(_FOREIGN[method.full_name])
    else:
        raise PolicyError("has no levimesh.policy.v1.method option; say who may call it")
    of_service = method.containing_service.GetOptions().Extensions[policy_pb2.service]
    if (policy.public or policy.roles) and not policy.HasField("rate_limit") and of_service.HasField("rate_limit"):
        policy.rate_limit.CopyFrom(of_service.rate_limit)
    return policy


def _policy(method: MethodDescriptor) -> Policy:
    wire = effective_policy(method)
    if problem := next(_contradictions(method, wire), None):
        raise PolicyError(problem)
    return Policy(
        method=f"/{method.containing_service.full_name}/{method.name}",
        roles=frozenset(policy_pb2.Role.Name(role) for role in wire.roles),
        scopes=frozenset(wire.scopes),
        callers=frozenset(wire.callers),
        service_callers=frozenset(wire.service_callers),
        public=wire.public,
        deadline=wire.deadline.ToTimedelta().total_seconds() if wire.HasField("deadline") else None,
        audit=wire.audit,
        rate_limit=_rate_limit(wire.rate_limit) if wire.HasField("rate_limit") else None,
        stream_limit=_stream_limit(wire.stream_limit) if wire.HasField("stream_limit") else None,
        client_streaming=method.client_streaming,
    )


def _contradictions(method: MethodDescriptor, wire: policy_pb2.MethodPolicy) -> Iterator[str]:
    for_users = wire.public or bool(wire.roles)
    if wire.idempotency == policy_pb2.IDEMPOTENCY_UNSPECIFIED:
        yield "does not say what a retry does (idempotency)"
    if wire.public and wire.roles:
        yield "is public and asks for roles; choose one"
    if not (for_users or wire.service_callers):
        yield "lets nobody in; give roles, service_callers or public"
    if for_users and not wire.callers:
        yield "serves users but names no callers to pass their calls on"
    if overlap := set(wire.callers) & set(wire.service_callers):
        yield f"lets {', '.join(sorted(overlap))} in without a user's token, which it asks for; choose one"
    if method.server_streaming:
        yield from _stream_contradictions(wire)
    else:
        yield from _unary_contradictions(wire)
    if for_users and not wire.HasField("rate_limit"):
        yield "can be reached by users and has no rate_limit, nor has its service"
    if wire.HasField("rate_limit"):
        yield from _limit_contradictions(wire.rate_limit)


def _unary_contradictions(wire: policy_pb2.MethodPolicy) -> Iterator[str]:
    if not wire.HasField("deadline"):
        yield "is unary and has no deadline"
    if wire.HasField("stream_limit"):
        yield "is unary and has a stream_limit"


def _stream_contradictions(wire: policy_pb2.MethodPolicy) -> Iterator[str]:
    if wire.audit:
        yield "is a stream and asks for audit; audit the methods that change something"
    if (wire.public or wire.roles) and not wire.stream_limit.streams:
        yield "is a stream that can be reached by users and has no stream_limit"


def _limit_contradictions(wire: policy_pb2.RateLimit) -> Iterator[str]:
    if wire.calls == 0 or wire.per.ToTimedelta().total_seconds() <= 0:
        yield "has a rate_limit without calls or without a span; to let nobody in, give no roles"
    if wire.across_replicas and wire.outage == policy_pb2.OUTAGE_UNSPECIFIED:
        yield "does not say what happens while calls cannot be counted (rate_limit.outage)"
    tiers = [tier.tier for tier in wire.tiers]
    if len(set(tiers)) < len(tiers) or set(tiers) - {policy_pb2.RATE_TIER_ELEVATED}:
        yield "has a rate_limit whose tiers are not different ones above STANDARD, which `calls` is for"


def _stream_limit(wire: policy_pb2.StreamLimit) -> StreamLimit:
    return StreamLimit(wire.streams, wire.instruments)


def _rate_limit(wire: policy_pb2.RateLimit) -> RateLimit:
    calls = {STANDARD: wire.calls, ELEVATED: wire.calls * _MORE_WHEN_ELEVATED}
    return RateLimit(
        calls={**calls, **{_TIERS[limit.tier]: limit.calls for limit in wire.tiers}},
        seconds=wire.per.ToTimedelta().total_seconds(),
        across_replicas=wire.across_replicas,
        refused_in_outage=wire.outage == policy_pb2.OUTAGE_REFUSE,
    )
