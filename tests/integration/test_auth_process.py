"""auth as the process that the stack runs."""

import asyncio
import json
import os
import secrets
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from levimesh.auth.v1 import auth_service_pb2 as pb
from levimesh.auth.v1 import auth_service_pb2_grpc as pb_grpc
from levimesh.auth.v1 import user_service_pb2, user_service_pb2_grpc
from services.runtime.channels import open_channel
from services.stack.ports import find_free
from tests.auth import A_KEY_ENCRYPTION_KEY, ADMIN, ADMIN_PASSWORD, SERVICE
from tests.mesh import bearing, error_info, files_of

WITHIN = 60.0


@asynccontextmanager
async def auth_process(database_url: str, certificates: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    files = files_of(certificates, "auth")
    environment = {
        "AUTH_PORT": str(port),
        "AUTH_DATABASE_URL": database_url,
        "AUTH_REDIS_URL": "redis://127.0.0.1",
        "AUTH_TLS_CERTIFICATE": str(files.certificate),
        "AUTH_TLS_PRIVATE_KEY": str(files.private_key),
        "AUTH_TLS_TRUST_BUNDLE": str(files.trust_bundle),
        "AUTH_KEY_ENCRYPTION_KEY": A_KEY_ENCRYPTION_KEY,
        "AUTH_DRAIN_NOTICE_SECONDS": "0",
        "AUTH_LOG_LEVEL": "DEBUG",
        "PYTHONPATH": ":".join(filter(None, sys.path)),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.auth"),
        env={**os.environ, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_the_process_serves_until_it_is_told_to_stop(
    database_url: Callable[[str], str], certificates: Path
) -> None:
    (port,) = find_free(1, first=12_000 + secrets.randbelow(18_000))
    url = database_url("auth")
    async with (
        auth_process(url, certificates, port) as process,
        open_channel(SERVICE, "auth", f"127.0.0.1:{port}", files_of(certificates, "stack")) as stack,
        open_channel(SERVICE, "auth", f"127.0.0.1:{port}", files_of(certificates, "gateway")) as gateway,
    ):
        await until_serving(stack)
        await user_service_pb2_grpc.UserServiceStub(stack).CreateFirstAdmin(
            user_service_pb2.CreateFirstAdminRequest(username=ADMIN, password=ADMIN_PASSWORD)
        )
        auth = pb_grpc.AuthServiceStub(gateway)
        login = await auth.Login(pb.LoginRequest(username=ADMIN, password=ADMIN_PASSWORD))
        users = user_service_pb2_grpc.UserServiceStub(gateway)
        token = bearing(login.access_token)
        # Nobody is let in before the process knows what is revoked.
        current = await answered(users.GetCurrentUser, user_service_pb2.GetCurrentUserRequest(), token)
        refreshed = await auth.RefreshSession(
            pb.RefreshSessionRequest(refresh_token=login.refresh_token, request_id=str(uuid.uuid4()))
        )
        await auth.Logout(pb.LogoutRequest(), metadata=bearing(refreshed.access_token))
        reason = await refusal(users.GetCurrentUser, user_service_pb2.GetCurrentUserRequest(), token)

        process.send_signal(signal.SIGTERM)
        _, log = await process.communicate()

    assert current.user == login.user
    assert reason == "ERROR_REASON_SESSION_ENDED"
    assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert {line["service"] for line in lines} == {"auth"}
    assert [line["message"] for line in lines][-1] == "stopped"
    tokens = (login.access_token, login.refresh_token, refreshed.access_token, refreshed.refresh_token)
    for secret in (ADMIN_PASSWORD, A_KEY_ENCRYPTION_KEY, *tokens, url.split("@")[0].rsplit(":", 1)[1] + "@"):
        assert secret.encode() not in log


async def answered(method: Callable[..., Any], request: Any, metadata: Any) -> Any:
    """What ``method`` answers once the part that it needs is there."""
    async with asyncio.timeout(WITHIN):
        while True:
            try:
                return await method(request, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise


async def refusal(method: Callable[..., Any], request: Any, metadata: Any) -> str:
    """The reason for which ``method`` refuses, once it does."""
    async with asyncio.timeout(WITHIN):
        while True:
            try:
                await method(request, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                reason: str = error_info(error).reason
                return reason


async def until_serving(channel: grpc.aio.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
    async with asyncio.timeout(WITHIN):
        async for health in watch:
            if health.status == health_pb2.HealthCheckResponse.SERVING:
                break
    watch.cancel()
