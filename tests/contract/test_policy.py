"""Every RPC of the descriptors by every kind of caller, directly and through the gateway: the policy decides.

What is expected is computed from the options alone. A new RPC is covered as soon as it is in a contract.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc.aio import AioRpcError

from gateway.contracts import SERVICES
from services.runtime.channels import open_channel
from services.stack.certificates import WORKLOADS
from tests.gateway import Calls, Gateway, recorders, running_gateway
from tests.mesh import Served, files_of
from tests.walk import BEARERS, METHODS, expected, expected_outside, outcome

STRANGER = "stranger"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(certificates: Path) -> AsyncIterator[dict[str, Served]]:
    """A server of every contract, which lets the policy decide and answers with nothing."""
    async with recorders(certificates, Calls(), *SERVICES) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(certificates: Path, servers: dict[str, Served]) -> AsyncIterator[Gateway]:
    endpoints = {workload: (served.target,) for workload, served in servers.items()}
    async with running_gateway(certificates, endpoints, LEVIMESH_RATE_LIMIT_SCALE=0) as gateway:
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
