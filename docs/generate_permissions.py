"""Writes ``docs/permissions.md`` from the policies of the contracts.

python -m docs.generate_permissions docs/permissions.md
"""

import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from gateway.contracts import SERVICES
from levimesh.policy.v1 import policy_pb2

_HEAD = """\
# Permissions

Generated from the policies in [`proto/`](../proto/levimesh) by `make gen`; what stands here is what is enforced.

- **users**: the roles of which a user needs one; `anybody` needs no token.
- **API key**: the scopes of which the token of an API key needs one; without any, a person has to log in.
- **through**: the workloads that may pass on the call of a user. Outside only what passes `gateway` can be reached.
- **services**: the workloads that may call for themselves, without a user.
- **limit**: calls in a span for each user and address; callers of the tier `elevated` (admins, and whom an admin gives
  it) may call ten times as often unless more is said. `together`: counted for all gateways together, and allowed or
  refused while they cannot be counted.
- **streams**: how many streams of the method a user may have open at a time from one address on one replica (ten times
  as many in the tier `elevated`), and how many instruments one stream may have.
- **deadline**: how long a call may take; **retry**: what a repetition does; **audit**: each call is in the audit chain.
"""

_TABLE = """
| method | users | API key | through | services | limit | streams | deadline | retry | audit |
|---|---|---|---|---|---|---|---|---|---|
"""

_RETRIES = {
    policy_pb2.IDEMPOTENCY_READ_ONLY: "reads",
    policy_pb2.IDEMPOTENCY_BY_REQUEST_ID: "same answer, by request id",
    policy_pb2.IDEMPOTENCY_SAME_STATE: "same state",
    policy_pb2.IDEMPOTENCY_NONE: "acts again",
}
_OUTAGES = {policy_pb2.OUTAGE_ALLOW: "allowed", policy_pb2.OUTAGE_REFUSE: "refused"}


def page() -> str:
    """The whole page."""
    return _HEAD + "".join(_section(service) for services in SERVICES.values() for service in services)


def _section(service: ServiceDescriptor) -> str:
    rows = (_row(service, method) for method in service.methods)
    return f"\n## {service.name}\n{_TABLE}" + "".join(rows)


def _row(service: ServiceDescriptor, method: MethodDescriptor) -> str:
    policy = method.GetOptions().Extensions[policy_pb2.method]
    roles = (policy_pb2.Role.Name(role).removeprefix("ROLE_").lower() for role in policy.roles)
    limit = policy if policy.HasField("rate_limit") else service.GetOptions().Extensions[policy_pb2.service]
    cells = [
        f"`{method.name}`",
        "anybody" if policy.public else _list(roles),
        _list(policy.scopes),
        _list(policy.callers),
        _list(policy.service_callers),
        " ".join(_limit(limit.rate_limit)) if policy.callers else "-",
        " ".join(_streams(policy.stream_limit)) if policy.HasField("stream_limit") else "-",
        _seconds(policy.deadline.ToTimedelta()) if policy.HasField("deadline") else "stream",
        _RETRIES[policy.idempotency],
        "yes" if policy.audit else "-",
    ]
    return f"| {' | '.join(cells)} |\n"


def _limit(limit: policy_pb2.RateLimit) -> Iterator[str]:
    yield f"{limit.calls} in {_seconds(limit.per.ToTimedelta())}"
    for each in limit.tiers:
        yield f"({policy_pb2.RateTier.Name(each.tier).removeprefix('RATE_TIER_').lower()}: {each.calls})"
    if limit.across_replicas:
        yield f"together, else {_OUTAGES[limit.outage]}"


def _streams(limit: policy_pb2.StreamLimit) -> Iterator[str]:
    yield str(limit.streams)
    if limit.instruments:
        yield f"of {limit.instruments} instruments"


def _list(words: Iterable[str]) -> str:
    return ", ".join(words) or "-"


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():g} s"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
