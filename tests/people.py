"""The auth service with people in it, and what they are told when they are refused."""

import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from argon2 import PasswordHasher

from levimesh.auth.v1 import auth_service_pb2 as auth_pb
from levimesh.auth.v1 import user_pb2
from levimesh.auth.v1 import user_service_pb2 as pb
from levimesh.policy.v1 import policy_pb2
from tests.auth import RunningAuth, SetClock, auth_settings, running_auth
from tests.mesh import error_info

ANN_PASSWORD = "the password of ann"
Metadata = tuple[tuple[str, str], ...]

WRONG = (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID")
LOCKED = (grpc.StatusCode.RESOURCE_EXHAUSTED, "LOGIN_LOCKED")
LAST_ADMIN = (grpc.StatusCode.FAILED_PRECONDITION, "LAST_ADMIN")
USER_NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND")
SESSION_OVER = (grpc.StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_INVALID")


@dataclass(frozen=True)
class People:
    """An auth service with the admin root, and ann, a trader."""

    running: RunningAuth
    clock: SetClock
    root: user_pb2.User
    admin: Metadata
    ann: user_pb2.User

    async def login(self, username: str = "ann", password: str = ANN_PASSWORD, code: str = "") -> auth_pb.LoginResponse:
        request = auth_pb.LoginRequest(username=username, password=password, second_factor=code)
        response: auth_pb.LoginResponse = await self.running.as_workload("gateway").Login(request)
        return response

    async def refresh(self, session: auth_pb.LoginResponse) -> auth_pb.RefreshSessionResponse:
        request = auth_pb.RefreshSessionRequest(refresh_token=session.refresh_token, request_id=str(uuid.uuid4()))
        response: auth_pb.RefreshSessionResponse = await self.running.as_workload("gateway").RefreshSession(request)
        return response

    async def revoked(self) -> auth_pb.ListRevocationsResponse:
        request = auth_pb.ListRevocationsRequest()
        response: auth_pb.ListRevocationsResponse = await self.running.as_workload("trading").ListRevocations(request)
        return response


@asynccontextmanager
async def running_people(
    database_url: str, certificates: Path, hasher: PasswordHasher | None = None, **settings: Any
) -> AsyncIterator[People]:
    """An auth service in which root and ann exist, and whose time stands still: a slow machine changes no outcome."""
    clock = SetClock()
    # Many at once, so that races are tried.
    all_settings = auth_settings(database_url, password_workers=32, password_queue=200, **settings)
    async with running_auth(all_settings, certificates, hasher, now=clock) as running:
        await running.create_admin()
        admin = await running.login()
        root = (await running.users().GetCurrentUser(pb.GetCurrentUserRequest(), metadata=admin)).user
        new = pb.CreateUserRequest(username="ann", password=ANN_PASSWORD, roles=[policy_pb2.ROLE_TRADER])
        ann = (await running.users().CreateUser(new, metadata=admin)).user
        yield People(running, clock, root, admin, ann)


async def refusal(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    """The status and the reason with which ``call`` is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), error_info(refused.value).reason.removeprefix("ERROR_REASON_")
