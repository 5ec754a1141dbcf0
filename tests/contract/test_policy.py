"""Every RPC of the descriptors by every kind of caller, directly and through the gateway: the policy decides.

What is expected is computed here from the options alone. A new RPC is covered as soon as it is in a contract.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from grpc.aio import AioRpcError

from gateway.contracts import SERVICES
from levimesh.policy.v1 import policy_pb2
from services.runtime.channels import open_channel
from services.stack.certificates import WORKLOADS
from tests.gateway import Calls, Gateway, recorders, running_gateway
from tests.mesh import Served, a_token, error_info, files_of

STRANGER = "stranger"
IN = "let in"
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

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
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
    kind: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
    call = kind(path, request_serializer=lambda message: message.SerializeToString(), response_deserializer=answer_from)
    try:
        answer = call(request, metadata=bearer.metadata, timeout=10)
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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(certificates: Path) -> AsyncIterator[dict[str, Served]]:
    """A server of every contract, which lets the policy decide and answers with nothing."""
    async with recorders(certificates, Calls(), *SERVICES) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(certificates: Path, servers: dict[str, Served]) -> AsyncIterator[Gateway]:
    endpoints = {workload: (served.target,) for workload, served in servers.items()}
    async with running_gateway(certificates, endpoints, rate_limit_scale=0) as gateway:
        yield gateway


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.asyncio(loop_scope="module")
async def test_the_policy_decides_about_direct_calls(certificates: Path, servers: dict[str, Served], name: str) -> None:
    workload, method = METHODS[name]
    async with AsyncExitStack() as stack:
        for caller in (*WORKLOADS, STRANGER):
            channel = await stack.enter_async_context(
                open_channel(
                    method.containing_service, workload, servers[workload].target, files_of(certificates, caller)
                )
            )
            found = await asyncio.gather(*(outcome(channel, method, bearer) for bearer in BEARERS))
            assert {bearer.name: seen for bearer, seen in zip(BEARERS, found, strict=True)} == {
                bearer.name: expected(method, caller, bearer) for bearer in BEARERS
            }, f"as {caller}"


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.asyncio(loop_scope="module")
async def test_without_a_certificate_nothing_can_be_called(
    certificates: Path, servers: dict[str, Served], name: str
) -> None:
    workload, method = METHODS[name]
    credentials = grpc.ssl_channel_credentials((certificates / "ca.pem").read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{servers[workload].port}", credentials) as channel:
        call: Any = channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}")
        for bearer in BEARERS:
            with pytest.raises(AioRpcError) as refused:
                await call(b"", metadata=bearer.metadata, timeout=10)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.asyncio(loop_scope="module")
async def test_the_policy_decides_about_calls_from_outside(edge: Gateway, name: str) -> None:
    _, method = METHODS[name]
    async with edge.channel() as channel:
        found = await asyncio.gather(*(outcome(channel, method, bearer) for bearer in BEARERS))
    assert {bearer.name: seen for bearer, seen in zip(BEARERS, found, strict=True)} == {
        bearer.name: expected_outside(method, bearer) for bearer in BEARERS
    }
