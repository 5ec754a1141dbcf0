"""The Python client, a real Envoy and the real auth service: sessions that processes share, and API keys."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask

from gateway.contracts import SERVICES
from levimesh.auth.v1 import api_key_pb2, auth_service_pb2
from levimesh.auth.v1 import api_key_service_pb2 as keys_pb
from levimesh.auth.v1 import user_service_pb2 as pb
from levimesh.client import Client, Profile, ProfileError, SessionFile
from levimesh.policy.v1 import policy_pb2
from tests.auth import ADMIN, ADMIN_PASSWORD, RunningAuth, auth_settings, running_auth
from tests.gateway import Calls, recorders, running_gateway

BOB_PASSWORD = "bob's own long password"
ME = pb.GetCurrentUserRequest()


@pytest_asyncio.fixture
async def auth(certificates: Path, database_url: Callable[[str], str], redis_url: str) -> AsyncIterator[RunningAuth]:
    async with running_auth(auth_settings(database_url("auth"), redis_url=redis_url), certificates) as running:
        await running.create_admin()
        yield running


@pytest_asyncio.fixture
async def admin(certificates: Path, auth: RunningAuth) -> AsyncIterator[Profile]:
    """The admin, who reaches auth through a gateway that lets everybody call as often as they like."""
    others = [workload for workload in SERVICES if workload != "auth"]
    async with recorders(certificates, Calls(), *others) as servers:
        endpoints = {"auth": (auth.served.target,)} | {name: (each.target,) for name, each in servers.items()}
        async with running_gateway(certificates, endpoints, LEVIMESH_RATE_LIMIT_SCALE=0) as gateway:
            address = f"localhost:{gateway.settings.tls_port}"
            yield Profile(address, str(certificates / "ca.pem"), ADMIN, ADMIN_PASSWORD)


def sharing(profile: Profile, path: Path) -> Profile:
    """``profile`` with a session in a file."""
    return replace(profile, session_file=SessionFile(path, profile.gateway, profile.username, profile.ca))


async def calls_until(happened: Callable[[], bool], *clients: Client) -> None:
    """Let ``clients`` call again and again until it has; what ends is refused within a second or two."""
    async with asyncio.timeout(10):
        while not happened():
            await asyncio.gather(*(mesh.users.GetCurrentUser(ME) for mesh in clients))


async def calls_on(mesh: Client) -> None:
    """Call again and again; for a second auth may still exchange a revoked key, for tokens that are refused."""
    async with asyncio.timeout(10):
        while True:
            with suppress(grpc.aio.AioRpcError):
                await mesh.users.GetCurrentUser(ME)


def changes(profile: Profile) -> Callable[[], bool]:
    """Whether the session of ``profile`` has other tokens than now."""
    kept = profile.session_file
    assert kept is not None
    before = kept.read()
    return lambda: kept.read() != before


async def test_clients_that_share_a_session_stay_logged_in_when_rights_change(
    admin: Profile, auth: RunningAuth, tmp_path: Path
) -> None:
    bob = sharing(replace(admin, username="bob", password=BOB_PASSWORD), tmp_path / "bob.json")
    async with Client.connect(admin) as root, AsyncExitStack() as stack:
        viewer = pb.CreateUserRequest(username="bob", password=BOB_PASSWORD, roles=[policy_pb2.ROLE_VIEWER])
        bobs_id = (await root.users.CreateUser(viewer)).user.user_id
        clients = [await stack.enter_async_context(Client.connect(bob)) for _ in range(6)]
        await asyncio.gather(*(mesh.users.GetCurrentUser(ME) for mesh in clients))
        await root.users.UpdateUser(
            pb.UpdateUserRequest(
                user_id=bobs_id, roles=[policy_pb2.ROLE_TRADER], update_mask=FieldMask(paths=["roles"])
            )
        )
        await calls_until(changes(bob), *clients)
        await asyncio.gather(*(mesh.users.GetCurrentUser(ME) for mesh in clients))
        sessions = await clients[0].auth.ListSessions(auth_service_pb2.ListSessionsRequest())

    assert len(sessions.sessions) == 1, "one login, however many clients"


async def test_a_session_that_is_ended_elsewhere_is_begun_anew_by_the_password(
    admin: Profile, auth: RunningAuth, tmp_path: Path
) -> None:
    here, there = sharing(admin, tmp_path / "here.json"), sharing(admin, tmp_path / "there.json")
    async with Client.connect(here) as mesh, Client.connect(there) as other:
        await mesh.users.GetCurrentUser(ME)
        await other.auth.LogoutEverywhere(auth_service_pb2.LogoutEverywhereRequest())

        await calls_until(changes(here), mesh)
        await mesh.auth.LogoutEverywhere(auth_service_pb2.LogoutEverywhereRequest())
    async with Client.connect(replace(here, password="")) as mesh:
        with pytest.raises(ProfileError, match=r"has expired or was ended: run `levimesh login root"):
            await calls_until(lambda: False, mesh)


async def test_an_api_key_is_its_owner_until_it_is_revoked(admin: Profile, auth: RunningAuth) -> None:
    async with Client.connect(admin) as root:
        made = await root.api_keys.CreateApiKey(
            keys_pb.CreateApiKeyRequest(name="robot", scopes=[api_key_pb2.SCOPE_READ])
        )
        by_key = Profile(admin.gateway, admin.ca, api_key=made.secret)
        async with Client.connect(by_key) as robot:
            assert (await robot.users.GetCurrentUser(ME)).user.username == ADMIN
            await root.api_keys.RevokeApiKey(keys_pb.RevokeApiKeyRequest(key_id=made.api_key.key_id))
            with pytest.raises(ProfileError, match=rf"the API key {made.api_key.prefix}… is refused"):
                await calls_on(robot)
