"""What it costs to know who calls: tokens verified per second, what each part of the edge adds, and a storm of logins.

Starts a mesh of its own. The target: while 100 logins run at once, the 99th percentile of SubmitOrder is at most a
fifth longer than without them. Rounds with and without are interleaved, and the percentiles are over all rounds.

    .venv/bin/python -m bench.identity
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
from rich.console import Console
from rich.table import Table

from levimesh.auth.v1 import (
    api_key_pb2,
    api_key_service_pb2,
    audit_service_pb2,
    audit_service_pb2_grpc,
    auth_service_pb2,
    auth_service_pb2_grpc,
)
from levimesh.client import Client
from levimesh.marketdata.v1 import marketdata_service_pb2, marketdata_service_pb2_grpc
from levimesh.trading.v1 import order_pb2, trading_service_pb2
from services.runtime.decimals import to_pb
from services.runtime.tokens import TokenVerifier
from services.stack.ports import find_free
from services.stack.wheels import wheel_folder
from tests.embedded import Mesh, a_mesh
from tests.mesh import AUDIENCE, ISSUER, a_token, public_keys

SYMBOL = "BTC-USDT@simex"
_QUANTITY = Decimal("0.0002")
TOKENS = 3000
ROUNDS, CALLS, WARM_UP = 10, 100, 100
STORMS, LOGINS, STORM_TARGET = 8, 100, 1.2
UNLIMITED = {"LEVIMESH_RATE_LIMIT_SCALE": "10000"}
"""The limits are on, and so high that no call of the benchmark is refused."""
_IDENTITY = ("jwt_authn", "ext_authz", "rbac")
_LIMITS = ("ratelimit",)
Call = Callable[[], Awaitable[Any]]


def _verified_per_second() -> tuple[float, float]:
    """Tokens that are seen for the first time, and tokens that are known, per second on one core."""
    verifier = TokenVerifier(ISSUER, AUDIENCE)
    verifier.set_keys(public_keys())
    tokens = [a_token("ROLE_TRADER", jti=uuid.uuid4().hex) for _ in range(TOKENS)]
    rates = []
    for _ in ("new", "known"):
        started = time.perf_counter()
        for token in tokens:
            verifier.verify(token)
        rates.append(TOKENS / (time.perf_counter() - started))
    return rates[0], rates[1]


@contextmanager
def _without(mesh: Mesh, *parts: str) -> Iterator[str]:
    """Another Envoy in front of the same services, without the filters that have one of ``parts`` in their names."""
    config = json.loads((mesh.state / "gateway" / "envoy.json").read_text())
    (port,) = find_free(1, first=12_000)
    with tempfile.TemporaryDirectory(prefix="levimesh-bench-") as folder:
        config["admin"] = {"address": {"pipe": {"path": f"{folder}/admin.sock"}}}
        listeners = config["static_resources"]["listeners"]
        (edge,) = (each for each in listeners if each["name"] == "edge_tls")
        (internal,) = (each for each in listeners if each["name"] == "jwks")
        edge["address"]["socket_address"]["port_value"] = port
        internal["address"]["pipe"]["path"] = f"{folder}/jwks.sock"
        for cluster in config["static_resources"]["clusters"]:
            if cluster["name"] == "jwks":
                endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
                endpoint["address"]["pipe"]["path"] = f"{folder}/jwks.sock"
        config["static_resources"]["listeners"] = [edge, internal]
        manager = edge["filter_chains"][0]["filters"][0]["typed_config"]
        manager["http_filters"] = [
            each for each in manager["http_filters"] if not any(part in each["name"] for part in parts)
        ]
        written = Path(folder, "envoy.json")
        written.write_text(json.dumps(config))
        program = str(wheel_folder("envoy") / "_bin" / "envoy")
        command = [program, "-c", str(written), "--use-dynamic-base-id", "--concurrency", "2", "--log-level", "error"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own arguments
        try:
            yield f"localhost:{port}"
        finally:
            process.terminate()
            process.wait()


async def _edge(mesh: Mesh) -> dict[tuple[str, str], list[float]]:
    """Milliseconds of every call, by method and by what the edge did for it."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client.connect(mesh.profile))
        bearer = (("authorization", f"Bearer {mesh.token()}"),)
        wanted = api_key_service_pb2.CreateApiKeyRequest(name="bench", scopes=[api_key_pb2.SCOPE_READ])
        secret = (await client.api_keys.CreateApiKey(wanted)).secret
        trusted = grpc.ssl_channel_credentials(mesh.authority.read_bytes())

        async def channel(target: str) -> grpc.aio.Channel:
            found = grpc.aio.secure_channel(target, trusted)
            return await stack.enter_async_context(found)

        full = await channel(mesh.tls.removeprefix("https://"))
        unlimited = await channel(stack.enter_context(_without(mesh, *_LIMITS)))
        bare = await channel(stack.enter_context(_without(mesh, *_IDENTITY, *_LIMITS)))
        request = marketdata_service_pb2.GetTickerRequest(symbol=SYMBOL)
        page = audit_service_pb2.ListAuditEventsRequest(page_size=1)

        def ticker(channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]) -> Call:
            stub = marketdata_service_pb2_grpc.MarketDataServiceStub(channel)
            return lambda: stub.GetTicker(request, metadata=metadata, timeout=5, wait_for_ready=True)

        def audit(channel: grpc.aio.Channel) -> Call:
            stub = audit_service_pb2_grpc.AuditServiceStub(channel)
            return lambda: stub.ListAuditEvents(page, metadata=bearer, timeout=5, wait_for_ready=True)

        return await _interleaved(
            {
                ("GetTicker", "neither identity nor limits"): ticker(bare, bearer),
                ("GetTicker", "JWT"): ticker(unlimited, bearer),
                ("GetTicker", "JWT, local limit"): ticker(full, bearer),
                ("GetTicker", "API key, local limit"): ticker(full, (("x-api-key", secret),)),
                ("ListAuditEvents", "JWT"): audit(unlimited),
                ("ListAuditEvents", "JWT, limit across replicas"): audit(full),
            }
        )


async def _interleaved(calls: dict[tuple[str, str], Call]) -> dict[tuple[str, str], list[float]]:
    took: dict[tuple[str, str], list[float]] = {way: [] for way in calls}
    for call in calls.values():
        for _ in range(WARM_UP):
            await call()
    for _ in range(ROUNDS):
        for way, call in calls.items():
            for _ in range(CALLS):
                took[way].append(await _milliseconds(call))
    return took


async def _milliseconds(call: Call) -> float:
    started = time.perf_counter()
    await call()
    return (time.perf_counter() - started) * 1000


async def _storm(mesh: Mesh) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of SubmitOrder in quiet, of SubmitOrder while LOGINS logins run, and of those logins."""
    with _crowd(mesh) as log_in:
        async with Client.connect(mesh.profile) as client:
            return await _orders_and_logins(client, log_in)


async def _orders_and_logins(
    client: Client, log_in: Callable[[], list[float]]
) -> tuple[list[float], list[float], list[float]]:
    async def submit() -> None:
        await client.trading.SubmitOrder(
            trading_service_pb2.SubmitOrderRequest(
                client_order_id=str(uuid.uuid4()),
                symbol=SYMBOL,
                side=order_pb2.SIDE_BUY,
                type=order_pb2.ORDER_TYPE_MARKET,
                quantity=to_pb(_QUANTITY),
            )
        )

    quiet: list[float] = []
    stormy: list[float] = []
    logins: list[float] = []
    for _ in range(WARM_UP):
        await submit()
    for _ in range(STORMS):
        storm = asyncio.create_task(asyncio.to_thread(log_in))
        before = len(stormy)
        while not storm.done():
            stormy.append(await _milliseconds(submit))
        logins += await storm
        quiet += [await _milliseconds(submit) for _ in range(len(stormy) - before)]
    return quiet, stormy, logins


@contextmanager
def _crowd(mesh: Mesh) -> Iterator[Callable[[], list[float]]]:
    """Logs LOGINS people in at once whenever it is told to, from a process of its own that runs all the time.

    It gives way to the mesh, as callers on other machines do.
    """
    command = [sys.executable, "-m", "bench.identity", "logins", mesh.tls.removeprefix("https://")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own arguments
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        who = json.dumps({"admin": mesh.admin, "authority": mesh.authority.read_text()})
        process.stdin.write(f"{who}\n")
        process.stdin.flush()
        process.stdout.readline()

        def log_in() -> list[float]:
            assert process.stdin is not None  # noqa: S101
            assert process.stdout is not None  # noqa: S101
            process.stdin.write("now\n")
            process.stdin.flush()
            took: list[float] = json.loads(process.stdout.readline())
            return took

        yield log_in


def _be_the_crowd(target: str) -> None:
    os.nice(10)
    who = json.loads(sys.stdin.readline())
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(asyncio.run(_log_in_at_once(target, **who))), flush=True)


async def _log_in_at_once(target: str, authority: str, admin: dict[str, str]) -> list[float]:
    """Milliseconds of each login that was let in; the pool refuses what it has no place for."""
    request = auth_service_pb2.LoginRequest(username=admin["username"], password=admin["password"])
    async with grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(authority.encode())) as channel:
        await channel.channel_ready()
        stub = auth_service_pb2_grpc.AuthServiceStub(channel)

        async def log_in() -> float | None:
            try:
                return await _milliseconds(lambda: stub.Login(request, timeout=30))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                return None

        took = await asyncio.gather(*(log_in() for _ in range(LOGINS)))
    return [each for each in took if each is not None]


def _percentiles(milliseconds: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(milliseconds, n=100)
    return cuts[49], cuts[98]


def main() -> int:
    """Run the benchmark; the exit status tells whether the target was met."""
    console = Console()
    new, known = _verified_per_second()
    console.print(f"tokens verified per second on one core: {new:,.0f} new, {known:,.0f} known")
    with a_mesh(**UNLIMITED) as mesh:
        edge = asyncio.run(_edge(mesh))
        quiet, stormy, logins = asyncio.run(_storm(mesh))
    table = Table("method", "the edge does", "p50 ms", "p99 ms", "calls", title="What the edge adds, one caller")
    for (method, way), took in edge.items():
        p50, p99 = _percentiles(took)
        table.add_row(method, way, f"{p50:.2f}", f"{p99:.2f}", str(len(took)))
    console.print(table)
    table = Table("call", "p50 ms", "p99 ms", "calls", title=f"{LOGINS} logins at once")
    for name, took in (("SubmitOrder in quiet", quiet), ("SubmitOrder meanwhile", stormy), ("Login", logins)):
        p50, p99 = _percentiles(took)
        table.add_row(name, f"{p50:.2f}", f"{p99:.2f}", str(len(took)))
    console.print(table)
    ratio = _percentiles(stormy)[1] / _percentiles(quiet)[1]
    console.print(f"p99 of SubmitOrder meanwhile / in quiet: {ratio:.2f} (target {STORM_TARGET})")
    return 0 if ratio <= STORM_TARGET else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["logins"]:
        _be_the_crowd(sys.argv[2])
        sys.exit(0)
    sys.exit(main())
