"""A real Envoy asks a real auth service: API keys become tokens, and calls are counted for all gateways together."""

import asyncio
import json
import secrets
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio

from levimesh.auth.v1 import api_key_service_pb2 as pb
from levimesh.auth.v1 import api_key_service_pb2_grpc as pb_grpc
from services.stack.ports import find_free
from services.stack.redis import RedisServer
from tests.api_keys import Programs, running_programs
from tests.gateway import Calls, Gateway, recorders, running_gateway
from tests.mesh import error_info
from tests.people import ANN_PASSWORD, Metadata

KEYS, SYMBOLS, AUDIT, LOGIN = "/v1/api-keys", "/v1/symbols", "/v1/audit/events", "/v1/auth/login"
A_LOGIN = {"username": "ann", "password": ANN_PASSWORD}


@dataclass(frozen=True)
class Mesh:
    """A gateway, the auth service behind it, and whatever else was called."""

    gateway: Gateway
    programs: Programs
    calls: Calls
    redis: "subprocess.Popen[bytes]"

    async def ask(self, path: str, headers: dict[str, str], **body: Any) -> tuple[int, str]:
        """The status and, of an error, its reason."""
        send = self.gateway.http.post if body else self.gateway.http.get
        async with send(path, headers=headers, **body) as response:
            return response.status, await _reason(response)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A Redis that a test may kill."""
    server = RedisServer(tmp_path, find_free(1, first=12_000 + secrets.randbelow(18_000))[0], "test")
    asyncio.run(server.prepare())
    with subprocess.Popen(server.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603 - our own command
        yield server.url, process
        process.kill()


@pytest_asyncio.fixture
async def mesh(
    database_url: Callable[[str], str], redis: tuple[str, "subprocess.Popen[bytes]"], certificates: Path
) -> AsyncIterator[Mesh]:
    url, process = redis
    calls = Calls()
    async with (
        running_programs(database_url("auth"), url, certificates) as programs,
        recorders(certificates, calls, "marketdata", "prediction", "trading") as others,
    ):
        for served in others.values():
            served.stages.verifier.set_keys(await programs.replicas[0].auth.keys())
        endpoints = {workload: (served.target,) for workload, served in others.items()}
        endpoints["auth"] = (programs.replicas[0].served.target,)
        async with running_gateway(certificates, endpoints) as gateway:
            yield Mesh(gateway, programs, calls, process)


async def _reason(response: aiohttp.ClientResponse) -> str:
    body = json.loads(await response.read())
    return str(body.get("details", [{"reason": ""}])[0]["reason"]).removeprefix("ERROR_REASON_")


def sent(metadata: Metadata) -> dict[str, str]:
    return dict(metadata)


async def test_a_key_opens_what_its_scopes_say_until_it_is_revoked(mesh: Mesh) -> None:
    created = await mesh.programs.create(allowed_networks=["127.0.0.0/8"])
    key = {"x-api-key": created.secret}

    assert await mesh.ask(KEYS, key) == (200, "")
    assert await mesh.ask(SYMBOLS, key) == (200, "")
    assert mesh.calls.headers["authorization"].startswith("Bearer ")
    assert mesh.calls.headers["x-levimesh-subject"] == mesh.programs.ann_id
    assert mesh.calls.headers["x-levimesh-address"] == "127.0.0.1"
    assert "x-api-key" not in mesh.calls.headers
    assert await mesh.ask(AUDIT, key) == (403, "ROLE_NOT_ALLOWED")

    await mesh.programs.keys().RevokeApiKey(
        pb.RevokeApiKeyRequest(key_id=created.api_key.key_id), metadata=mesh.programs.ann
    )
    async with asyncio.timeout(2):
        while True:
            answer = await mesh.ask(SYMBOLS, key)
            if answer != (200, ""):
                break
    assert answer == (401, "API_KEY_INVALID")


async def test_a_key_that_is_no_good_is_told_so_over_rest_and_over_grpc(mesh: Mesh) -> None:
    elsewhere = {"x-api-key": (await mesh.programs.create(allowed_networks=["192.0.2.7"])).secret}

    assert await mesh.ask(SYMBOLS, {"x-api-key": "nonsense"}) == (401, "API_KEY_INVALID")
    assert await mesh.ask(SYMBOLS, elsewhere) == (403, "ADDRESS_NOT_ALLOWED")
    spoofed = {**elsewhere, "x-levimesh-address": "192.0.2.7", "x-forwarded-for": "192.0.2.7"}
    assert await mesh.ask(SYMBOLS, spoofed) == (403, "ADDRESS_NOT_ALLOWED")
    assert await mesh.ask(SYMBOLS, {}) == (401, "TOKEN_MISSING")

    async with mesh.gateway.channel() as channel:
        keys: Any = pb_grpc.ApiKeyServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await keys.ListApiKeys(pb.ListApiKeysRequest(), metadata=(("x-api-key", "nonsense"),))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert error_info(refused.value).reason == "ERROR_REASON_API_KEY_INVALID"
        good = (("x-api-key", (await mesh.programs.create()).secret),)
        assert (await keys.ListApiKeys(pb.ListApiKeysRequest(), metadata=good)).api_keys


async def test_the_eleventh_login_in_a_minute_is_refused_with_the_standard_headers(mesh: Mesh) -> None:
    answers = [await mesh.ask(LOGIN, {}, json=A_LOGIN) for _ in range(10)]
    assert answers == [(200, "")] * 10

    async with mesh.gateway.http.post(LOGIN, json=A_LOGIN) as refused:
        assert (refused.status, await _reason(refused)) == (429, "RATE_LIMITED")
        assert refused.headers["ratelimit-limit"].split(",")[0] == "10"
        assert refused.headers["ratelimit-remaining"] == "0"
        assert 0 < int(refused.headers["ratelimit-reset"]) <= 60
        assert 0 < int(refused.headers["retry-after"]) <= 60


async def test_while_redis_is_away_logins_are_refused_and_reads_pass(mesh: Mesh) -> None:
    assert await mesh.ask(LOGIN, {}, json=A_LOGIN) == (200, "")

    mesh.redis.kill()
    mesh.redis.wait()

    assert await mesh.ask(LOGIN, {}, json=A_LOGIN) == (503, "DEPENDENCY_UNAVAILABLE")
    assert await mesh.ask(AUDIT, sent(mesh.programs.root)) == (200, "")
    assert await mesh.ask(KEYS, sent(mesh.programs.ann)) == (200, "")
