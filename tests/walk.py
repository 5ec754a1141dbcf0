"""Every RPC of the contracts, who may call it by its options alone, and what becomes of a call."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from grpc.aio import AioRpcError

from gateway.contracts import SERVICES
from levimesh.policy.v1 import policy_pb2
from services.runtime.broadcast import HEARTBEAT_SECONDS
from tests.mesh import a_token, error_info

IN = "let in"
_PATIENCE = 2 * HEARTBEAT_SECONDS
"""A stream that nothing is asked of says nothing until its first heartbeat."""
REFUSALS = {
    "ERROR_REASON_TOKEN_MISSING",
    "ERROR_REASON_TOKEN_INVALID",
    "ERROR_REASON_TOKEN_EXPIRED",
    "ERROR_REASON_ROLE_NOT_ALLOWED",
    "ERROR_REASON_SCOPE_MISSING",
    "ERROR_REASON_CALLER_NOT_ALLOWED",
    "ERROR_REASON_METHOD_NOT_FOUND",
}


@dataclass(frozen=True)
class Bearer:
    """Somebody with an access token, or without any."""

    name: str
    token: str | None
    problem: str | None = None
    """The reason for which the token itself is refused."""
    role: int = 0
    scope: str | None = None
    """Of an API key's token."""
    api_key: str | None = None
    """Sent in the place of the token."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        if self.api_key is not None:
            return (("x-api-key", self.api_key),)
        return (("authorization", f"Bearer {self.token}"),) if self.token is not None else ()


def _altered(token: str) -> str:
    head, payload, signature = token.split(".")
    return f"{head}.{payload[:-2]}{'AA' if payload[-2:] != 'AA' else 'BB'}.{signature}"


def _bearers() -> Iterator[Bearer]:
    now = int(time.time())
    yield Bearer("nobody", None, "TOKEN_MISSING")
    for role in ("VIEWER", "TRADER", "ADMIN"):
        value = policy_pb2.Role.Value(f"ROLE_{role}")
        yield Bearer(role.lower(), a_token(f"ROLE_{role}"), role=value)
        for scope in ("read", "trade", "admin"):
            yield Bearer(f"{role.lower()}'s key to {scope}", a_token(f"ROLE_{role}", scope=scope), None, value, scope)
    yield Bearer("without a role", a_token(), role=-1)
    trader = a_token("ROLE_ADMIN")
    yield Bearer("wrong audience", a_token("ROLE_ADMIN", aud="elsewhere"), "TOKEN_INVALID")
    yield Bearer("wrong issuer", a_token("ROLE_ADMIN", iss="elsewhere"), "TOKEN_INVALID")
    yield Bearer("expired", a_token("ROLE_ADMIN", exp=now - 60), "TOKEN_EXPIRED")
    yield Bearer("altered", _altered(trader), "TOKEN_INVALID")
    yield Bearer("foreign key", a_token("ROLE_ADMIN", key=Ed25519PrivateKey.generate()), "TOKEN_INVALID")


BEARERS = tuple(_bearers())
KINDS = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}
"""What a channel calls a method, by whether requests and answers are streams."""
METHODS = {
    method.full_name: (workload, method)
    for workload, services in SERVICES.items()
    for service in services
    for method in service.methods
}


def policy_of(method: MethodDescriptor) -> policy_pb2.MethodPolicy:
    return method.GetOptions().Extensions[policy_pb2.method]


def expected(method: MethodDescriptor, workload: str, bearer: Bearer) -> str:
    """What the contract says of a call by ``workload`` with the token of ``bearer``."""
    policy = policy_of(method)
    if bearer.token is None and workload in policy.service_callers:
        return IN
    if workload not in policy.callers:
        return "CALLER_NOT_ALLOWED"
    if policy.public:
        return IN
    if bearer.problem is not None:
        return bearer.problem
    if bearer.role not in policy.roles:
        return "ROLE_NOT_ALLOWED"
    if bearer.scope is not None and bearer.scope not in policy.scopes:
        return "SCOPE_MISSING"
    return IN


def expected_outside(method: MethodDescriptor, bearer: Bearer) -> str:
    """What the contract says of a call that comes from outside."""
    if "gateway" not in policy_of(method).callers:
        return "METHOD_NOT_FOUND"
    return expected(method, "gateway", bearer)


async def outcome(channel: grpc.aio.Channel, method: MethodDescriptor, bearer: Bearer) -> str:
    """What becomes of a call with an empty request."""
    request = message_factory.GetMessageClass(method.input_type)()
    path = f"/{method.containing_service.full_name}/{method.name}"
    answer_from = message_factory.GetMessageClass(method.output_type).FromString
    kind: Any = getattr(channel, KINDS[method.client_streaming, method.server_streaming])
    call = kind(path, request_serializer=lambda message: message.SerializeToString(), response_deserializer=answer_from)
    # A stream of requests ends without one: grpc.aio shows INTERNAL where a write meets a call that was refused.
    asked = () if method.client_streaming else request
    try:
        answer = call(asked, metadata=bearer.metadata, timeout=_PATIENCE)
        if method.server_streaming:
            await answer.read()
        else:
            await answer
    except AioRpcError as error:
        reason = error_info(error).reason
        return reason.removeprefix("ERROR_REASON_") if reason in REFUSALS else _let_in(error, reason)
    return IN


def _let_in(error: AioRpcError, reason: str) -> str:
    """An empty request may break a rule, which only a caller who was let in is told."""
    return IN if reason == "ERROR_REASON_FIELD_VIOLATION" else f"{error.code().name} {reason} {error.details()}"
