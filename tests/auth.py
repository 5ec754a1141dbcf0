"""The real auth service on a real database, over mTLS."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from argon2 import PasswordHasher

from levimesh.auth.v1 import auth_service_pb2 as pb
from levimesh.auth.v1 import auth_service_pb2_grpc as pb_grpc
from levimesh.auth.v1 import user_service_pb2, user_service_pb2_grpc
from services.auth.bootstrap import Auth, open_auth
from services.auth.settings import AuthSettings
from services.runtime.audit import AuditLog
from services.runtime.clock import Clock, utc_now
from services.runtime.database import open_database
from services.runtime.trust import refresh_keys, refresh_revocations
from tests.audit import RememberedAudit
from tests.mesh import Served, bearing, serving

if TYPE_CHECKING:
    from levimesh.auth.v1.auth_service_pb2_grpc import AuthServiceAsyncStub
    from levimesh.auth.v1.user_service_pb2_grpc import UserServiceAsyncStub

SERVICE = pb.DESCRIPTOR.services_by_name["AuthService"]
USER_SERVICE = user_service_pb2.DESCRIPTOR.services_by_name["UserService"]
A_KEY_ENCRYPTION_KEY = base64.b64encode(bytes(32)).decode()
ADMIN, ADMIN_PASSWORD = "root", "correct horse battery"


def quick_hasher() -> PasswordHasher:
    """Argon2id, but cheap: most tests are about something else."""
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def auth_settings(database_url: str, **settings: Any) -> AuthSettings:
    """Settings of an auth service that only its database and its keys matter to."""
    defaults: dict[str, Any] = {
        "port": 0,
        "tls_certificate": Path(),
        "tls_private_key": Path(),
        "tls_trust_bundle": Path(),
        "database_url": database_url,
        "redis_url": "redis://127.0.0.1",
        "key_encryption_key": A_KEY_ENCRYPTION_KEY,
    }
    return AuthSettings(**{**defaults, **settings})


@dataclass(frozen=True)
class RunningAuth:
    """An auth service and how to call it."""

    served: Served
    auth: Auth
    audit: RememberedAudit

    def as_workload(self, workload: str) -> "AuthServiceAsyncStub":
        """A stub that calls as ``workload``."""
        return pb_grpc.AuthServiceStub(self.served.channel(SERVICE, workload))

    def users(self, workload: str = "gateway") -> "UserServiceAsyncStub":
        """A stub of UserService that calls as ``workload``."""
        return user_service_pb2_grpc.UserServiceStub(self.served.channel(USER_SERVICE, workload))

    async def create_admin(self) -> None:
        """What the stack does first."""
        request = user_service_pb2.CreateFirstAdminRequest(username=ADMIN, password=ADMIN_PASSWORD)
        await self.users("stack").CreateFirstAdmin(request)

    async def login(self, username: str = ADMIN, password: str = ADMIN_PASSWORD) -> tuple[tuple[str, str], ...]:
        """The metadata that carries a fresh token of the user."""
        return bearing((await self.begin_session(username, password)).access_token)

    async def begin_session(self, username: str = ADMIN, password: str = ADMIN_PASSWORD) -> pb.LoginResponse:
        """A fresh session of the user."""
        return await self.as_workload("gateway").Login(pb.LoginRequest(username=username, password=password))


@asynccontextmanager
async def running_auth(
    settings: AuthSettings,
    certificates: Path,
    hasher: PasswordHasher | None = None,
    *,
    now: Clock = utc_now,
    log: AuditLog | None = None,
) -> AsyncIterator[RunningAuth]:
    """The auth service as its main puts it together, what goes on in the background included."""
    remembered = RememberedAudit()
    audit = log or remembered
    async with (
        open_database(settings.database_url) as engine,
        open_auth(settings, engine, audit, hasher=hasher or quick_hasher(), now=now) as auth,
        serving(
            auth.servicers, certificates, workload="auth", audit=audit, token_clock=lambda: now().timestamp()
        ) as served,
    ):
        verifier = served.stages.verifier
        verifier.set_keys(await auth.keys())
        work = [
            refresh_keys(verifier, auth.keys),
            refresh_revocations(verifier, auth.revoked),
            *(each() for each in auth.background.values()),
        ]
        tasks = [asyncio.ensure_future(each) for each in work]
        try:
            yield RunningAuth(served, auth, remembered)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = now or utc_now()

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        """Let time pass: ``move(seconds=30)``."""
        self.now += timedelta(**by)
