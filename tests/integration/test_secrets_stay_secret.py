"""Secrets that go into the mesh come out in no log, span, metric, error or stored row, whatever goes wrong."""

import asyncio
import base64
from collections.abc import AsyncIterator, Coroutine, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from protovalidate import Validator

from levimesh.auth.v1 import auth_service_pb2, user_service_pb2
from services.runtime.policy import Policy
from tests.canaries import Canaries, requests_for
from tests.mesh import a_token
from tests.wiretap import PROCESSES, Mesh, Metadata, methods_of, running_mesh

ADMIN = "root"
AUTH = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"].methods_by_name
USERS = user_service_pb2.DESCRIPTOR.services_by_name["UserService"].methods_by_name
AT_ONCE = 16
VALIDATOR = Validator()
Call = Coroutine[Any, Any, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(certificates: Path) -> AsyncIterator[Mesh]:
    async with running_mesh(Canaries(), certificates) as running:
        yield running


@pytest.mark.asyncio(loop_scope="module")
async def test_no_secret_comes_out_of_the_mesh(mesh: Mesh) -> None:
    await have_an_admin(mesh)
    for service, policy, method in everything():
        good = await log_in(mesh)
        await at_once(calls_of(mesh, service, policy, method, good))
    good = await log_in(mesh)
    await mesh.redis.stop()
    await at_once(few_calls_of_everything(mesh, good))
    await mesh.postgres.stop()
    await at_once(few_calls_of_everything(mesh, good))
    await mesh.postgres.start()
    await mesh.until_serving("auth")

    found = {place: mesh.canaries.found_in(text) for place, text in (await mesh.came_out()).items()}

    assert {place: secrets for place, secrets in found.items() if secrets} == {}
    assert {path for path, outcomes in mesh.outcomes.items() if not outcomes} == set()


def everything() -> Iterator[tuple[str, Policy, MethodDescriptor]]:
    for process in PROCESSES:
        for policy, method in methods_of(process):
            yield process, policy, method


def calls_of(mesh: Mesh, service: str, policy: Policy, method: MethodDescriptor, good: Metadata) -> Iterator[Call]:
    """Calls with secrets wherever the method takes one, by who may call it, by nobody, and by whoever pretends."""
    caller = min(policy.callers | policy.service_callers)
    for request in requests_for(method, mesh.canaries, VALIDATOR):
        for metadata in (good, ()):
            yield mesh.call(service, method, request, metadata, caller)
    for metadata in bad_credentials(mesh.canaries):
        yield mesh.call(service, method, a_request(mesh, method), metadata, caller)


def few_calls_of_everything(mesh: Mesh, good: Metadata) -> Iterator[Call]:
    """A good and a bad call of each method."""
    for service, policy, method in everything():
        caller = min(policy.callers | policy.service_callers)
        for metadata in (good, next(bad_credentials(mesh.canaries))):
            yield mesh.call(service, method, a_request(mesh, method), metadata, caller)


def a_request(mesh: Mesh, method: MethodDescriptor) -> Message:
    """As good as can be guessed."""
    return next(islice(requests_for(method, mesh.canaries, VALIDATOR), 1, None))


async def at_once(calls: Iterator[Call]) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(call: Call) -> None:
        async with gate:
            await call

    await asyncio.gather(*map(one, calls))


async def have_an_admin(mesh: Mesh) -> None:
    """Whose password has been changed once."""
    first, second = mesh.canaries.make("first password"), mesh.canaries.make("second password")
    created = user_service_pb2.CreateFirstAdminRequest(username=ADMIN, password=first)
    await mesh.call("auth", USERS["CreateFirstAdmin"], created, caller="stack")
    mesh.canaries.know_genuine("password", first)
    changed = user_service_pb2.ChangePasswordRequest(current_password=first, new_password=second)
    await mesh.call("auth", USERS["ChangePassword"], changed, await log_in(mesh))
    mesh.canaries.know_genuine("password", second)


async def log_in(mesh: Mesh) -> Metadata:
    """The metadata that carries a token of the admin."""
    async with asyncio.timeout(30):
        while True:
            request = auth_service_pb2.LoginRequest(username=ADMIN, password=mesh.canaries.genuine("password"))
            if (response := await mesh.call("auth", AUTH["Login"], request)) is not None:
                return (("authorization", f"Bearer {response.access_token}"),)
            # The wrong passwords of the calls before have locked the name for a moment.
            await asyncio.sleep(0.2)


def bad_credentials(canaries: Canaries) -> Iterator[Metadata]:
    """Metadata with secrets that nobody has given out, are over, or are no secrets of the kind at all."""
    expired = canaries.know(a_token("ROLE_ADMIN", exp=1), "expired token")
    basic = base64.b64encode(f"{ADMIN}:{canaries.make('basic password')}".encode()).decode()
    for scheme, value in (
        ("Bearer", canaries.make("opaque token")),
        ("Bearer", canaries.know(a_token("ROLE_ADMIN"), "foreign token")),
        ("Bearer", expired),
        ("Bearer", f"{expired}{canaries.make('altered token')}"),
        ("Bearer", f"eyJ{canaries.make('malformed token')}.eyJ.{canaries.make('signature')}"),
        ("bearer", f"{canaries.make('token')} {canaries.make('second token')}"),
        ("Basic", basic),
        (canaries.make("scheme"), canaries.make("token of a strange scheme")),
    ):
        key = canaries.make("API key")
        yield (
            ("authorization", f"{scheme} {value}"),
            ("x-api-key", key),
            ("cookie", f"session={canaries.make('cookie')}"),
        )


def test_a_canary_is_recognised_in_whatever_form_it_comes() -> None:
    canaries = Canaries()
    canary = canaries.make("a secret")
    forms = [
        canary,
        base64.b64encode(f"root:{canary}".encode()).decode(),
        base64.urlsafe_b64encode(f"a={canary}&b".encode()).decode(),
        canary.encode().hex(),
    ]

    assert [bool(canaries.found_in(f"before {form} after")) for form in [*forms, "nothing"]] == [True] * 4 + [False]
