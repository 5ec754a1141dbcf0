"""The contract's policy of each method, checked and made ready when a server starts."""

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from levimesh.policy.v1 import policy_pb2


class PolicyError(Exception):
    """A contract's policy is missing or contradicts itself; the server does not start."""


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


def _policy(method: MethodDescriptor) -> Policy:
    options = method.GetOptions()
    if not options.HasExtension(policy_pb2.method):
        raise PolicyError("has no levimesh.policy.v1.method option; say who may call it")
    wire = options.Extensions[policy_pb2.method]
    if wire.idempotency == policy_pb2.IDEMPOTENCY_UNSPECIFIED:
        raise PolicyError("does not say what a retry does (idempotency)")
    if wire.public and wire.roles:
        raise PolicyError("is public and asks for roles; choose one")
    if not (wire.public or wire.roles or wire.service_callers):
        raise PolicyError("lets nobody in; give roles, service_callers or public")
    if (wire.public or wire.roles) and not wire.callers:
        raise PolicyError("serves users but names no callers to pass their calls on")
    if overlap := set(wire.callers) & set(wire.service_callers):
        raise PolicyError(f"lets {', '.join(sorted(overlap))} in without a user's token, which it asks for; choose one")
    if not method.server_streaming and not wire.HasField("deadline"):
        raise PolicyError("is unary and has no deadline")
    return Policy(
        method=f"/{method.containing_service.full_name}/{method.name}",
        roles=frozenset(policy_pb2.Role.Name(role) for role in wire.roles),
        scopes=frozenset(wire.scopes),
        callers=frozenset(wire.callers),
        service_callers=frozenset(wire.service_callers),
        public=wire.public,
        deadline=wire.deadline.ToTimedelta().total_seconds() if wire.HasField("deadline") else None,
        audit=wire.audit,
    )
