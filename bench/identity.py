"""What each part of the edge adds to a call: knowing who calls, and how often.

Starts a mesh of its own, and beside its gateway others without some of the filters.

    .venv/bin/python -m bench.identity
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import grpc
from rich.console import Console
from rich.table import Table

from bench.measuring import SYMBOL, UNLIMITED, Call, milliseconds, percentiles
from levimesh.auth.v1 import api_key_pb2, api_key_service_pb2, audit_service_pb2, audit_service_pb2_grpc
from levimesh.client import Client
from levimesh.marketdata.v1 import marketdata_service_pb2, marketdata_service_pb2_grpc
from services.stack.ports import find_free
from services.stack.wheels import wheel_folder
from tests.embedded import Mesh, a_mesh

ROUNDS, CALLS, WARM_UP = 10, 100, 100
_IDENTITY = ("jwt_authn", "ext_authz", "rbac")
_LIMITS = ("ratelimit",)


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
                took[way].append(await milliseconds(call))
    return took


def main() -> int:
    """Run the benchmark and print its table."""
    with a_mesh(LEVIMESH_RATE_LIMIT_SCALE=UNLIMITED) as mesh:
        edge = asyncio.run(_edge(mesh))
    table = Table("method", "the edge does", "p50 ms", "p99 ms", "calls", title="What the edge adds, one caller")
    for (method, way), took in edge.items():
        p50, p99 = percentiles(took)
        table.add_row(method, way, f"{p50:.2f}", f"{p99:.2f}", str(len(took)))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
