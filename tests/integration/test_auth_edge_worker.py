"""auth's worker at the edge: it answers what the gateway asks while a call waits, and does nothing else."""

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import text

from levimesh.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from levimesh.foreign.envoy.service.auth.v3 import external_auth_pb2_grpc
from levimesh.foreign.envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc
from services.auth import contracts
from services.auth.bootstrap import open_edge_worker
from services.auth.edge import Edge
from services.runtime.audit import AuditLog
from services.runtime.channels import open_channel
from services.runtime.database import open_database
from services.runtime.tokens import TokenVerifier
from services.stack.ports import find_free
from tests.api_keys import Checked, a_check, running_programs
from tests.audit import RememberedAudit
from tests.auth import A_KEY_ENCRYPTION_KEY, SERVICE, auth_settings, running_auth
from tests.mesh import AUDIENCE, ISSUER, Served, files_of, serving

WITHIN = 60.0
SUBMIT_ORDER = "/levimesh.trading.v1.TradingService/SubmitOrder"


def a_call() -> rls_pb2.RateLimitRequest:
    request = rls_pb2.RateLimitRequest(domain="levimesh")
    said = {"method": SUBMIT_ORDER, "subject": "alice", "address": "192.0.2.1", "tier": "standard"}
    entries = request.descriptors.add().entries
    for key, value in said.items():
        entries.add(key=key, value=value)
    return request


@asynccontextmanager
async def a_worker(
    database_url: str, redis_url: str, certificates: Path, audit: AuditLog | None = None
) -> AsyncIterator[tuple[Served, Edge]]:
    settings = auth_settings(database_url, redis_url=redis_url)
    async with (
        open_database(settings.database_url) as engine,
        open_edge_worker(settings, engine, audit or RememberedAudit()) as worker,
        serving(worker.servicers, certificates, workload="auth") as served,
    ):
        yield served, worker


def counter(served: Served, caller: str = "gateway") -> Any:
    return rls_pb2_grpc.RateLimitServiceStub(served.channel(contracts.RATE_LIMIT_SERVICE, caller))


async def test_a_key_is_exchanged_for_a_token_that_everybody_takes(
    database_url: Callable[[str], str], redis_url: str, certificates: Path
) -> None:
    url = database_url("auth")
    async with (
        running_programs(url, redis_url, certificates) as programs,
        a_worker(url, redis_url, certificates) as (served, _),
    ):
        secret = (await programs.create()).secret
        edge = external_auth_pb2_grpc.AuthorizationStub(served.channel(contracts.AUTHORIZATION))
        checked = Checked(await edge.Check(a_check(secret)))
        verifier = TokenVerifier(ISSUER, AUDIENCE)
        verifier.set_keys(await programs.replicas[0].auth.keys())

        assert checked.admitted
        assert verifier.verify(checked.headers["authorization"].removeprefix("Bearer ")).user_id == programs.ann_id
        assert Checked(await edge.Check(a_check("lm_nobody_knows"))).refusal == (401, "API_KEY_INVALID")


async def test_calls_are_counted_together_with_those_that_auth_counts(
    database_url: Callable[[str], str], redis_url: str, certificates: Path
) -> None:
    url = database_url("auth")
    async with (
        running_auth(auth_settings(url, redis_url=redis_url), certificates) as auth,
        a_worker(url, redis_url, certificates) as (served, _),
    ):
        (first,) = (await counter(served).ShouldRateLimit(a_call())).statuses
        (second,) = (await counter(auth.served).ShouldRateLimit(a_call())).statuses

    assert second.limit_remaining == first.limit_remaining - 1


async def test_it_serves_nothing_else_and_nobody_else(
    database_url: Callable[[str], str], redis_url: str, certificates: Path
) -> None:
    url = database_url("auth")
    async with (
        running_auth(auth_settings(url), certificates),
        a_worker(url, redis_url, certificates) as (served, worker),
    ):
        login = auth_service_pb2_grpc.AuthServiceStub(served.channel(SERVICE))
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await login.Login(auth_service_pb2.LoginRequest(username="root", password="a long password"))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await counter(served, "trading").ShouldRateLimit(a_call())

    assert worker.servicers.keys() == set(contracts.ASKED_AT_THE_EDGE)
    assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_it_makes_no_signing_keys_and_waits_until_there_is_one(
    database_url: Callable[[str], str], redis_url: str, certificates: Path
) -> None:
    url, audit = database_url("auth"), RememberedAudit()

    async def serve_once() -> None:
        async with a_worker(url, redis_url, certificates, audit) as (served, _):
            edge = external_auth_pb2_grpc.AuthorizationStub(served.channel(contracts.AUTHORIZATION))
            assert Checked(await edge.Check(a_check("lm_nobody_knows"))).refusal == (401, "API_KEY_INVALID")

    worker = asyncio.create_task(serve_once())
    async with open_database(auth_settings(url).database_url) as engine, engine.connect() as connection:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.shield(worker)
        assert await connection.scalar(text("SELECT count(*) FROM auth.signing_keys")) == 0
    async with running_auth(auth_settings(url), certificates), asyncio.timeout(WITHIN):
        await worker

    assert audit.events == []


async def test_the_process_serves_until_it_is_told_to_stop(
    database_url: Callable[[str], str], redis_url: str, certificates: Path
) -> None:
    url = database_url("auth")
    (port,) = find_free(1, first=12_000 + secrets.randbelow(18_000))
    files = files_of(certificates, "auth")
    environment = {
        "AUTH_PORT": str(port),
        "AUTH_DATABASE_URL": url,
        "AUTH_REDIS_URL": redis_url,
        "AUTH_TLS_CERTIFICATE": str(files.certificate),
        "AUTH_TLS_PRIVATE_KEY": str(files.private_key),
        "AUTH_TLS_TRUST_BUNDLE": str(files.trust_bundle),
        "AUTH_KEY_ENCRYPTION_KEY": A_KEY_ENCRYPTION_KEY,
        "AUTH_DRAIN_NOTICE_SECONDS": "0",
        "PYTHONPATH": ":".join(filter(None, sys.path)),
    }
    gateway = open_channel(contracts.RATE_LIMIT_SERVICE, "auth", f"127.0.0.1:{port}", files_of(certificates, "gateway"))
    async with running_auth(auth_settings(url), certificates), gateway as channel:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.auth.edge_worker"), env={**os.environ, **environment}
        )
        try:
            stub: Any = external_auth_pb2_grpc.AuthorizationStub(channel)
            answer = await stub.Check(a_check("lm_nobody_knows"), wait_for_ready=True, timeout=WITHIN)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(WITHIN):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()

    assert Checked(answer).refusal == (401, "API_KEY_INVALID")
    assert process.returncode == 0
