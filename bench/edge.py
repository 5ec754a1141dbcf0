"""How long GetTicker and Predict take: directly, and through the gateway by gRPC and by REST.

Starts a mesh of its own, calls one after the other on one connection each, interleaved in rounds, and prints medians
and 99th percentiles in milliseconds.

    .venv/bin/python -m bench.edge
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import grpc
from rich.console import Console
from rich.table import Table

from levimesh.client import Client
from levimesh.marketdata.v1 import marketdata_service_pb2 as market_pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc as market_grpc
from levimesh.prediction.v1 import prediction_service_pb2 as prediction_pb
from levimesh.prediction.v1 import prediction_service_pb2_grpc as prediction_grpc
from services.stack.state import State
from services.stack.topology import workload_files
from tests.embedded import Mesh, a_mesh

SYMBOL = "BTC-USDT@simex"
ROUNDS, CALLS, WARM_UP = 10, 100, 100
Call = Callable[[], Awaitable[Any]]


async def _direct(stack: AsyncExitStack, mesh: Mesh, service: str) -> grpc.aio.Channel:
    """A channel to a service itself, as the gateway would open it."""
    credentials = workload_files(State(mesh.state), "gateway").channel_credentials()
    options = [("grpc.ssl_target_name_override", service)]
    return await stack.enter_async_context(
        grpc.aio.secure_channel(mesh.settings.target(service), credentials, options=options)
    )


async def _calls(stack: AsyncExitStack, running: Mesh) -> dict[tuple[str, str], Call]:
    """Each way of calling each method."""
    mesh = await stack.enter_async_context(Client.connect(running.profile))
    token = running.token()
    metadata = (("authorization", f"Bearer {token}"),)
    market_channel = await _direct(stack, running, "marketdata")
    prediction_channel = await _direct(stack, running, "prediction")
    market = market_grpc.MarketDataServiceStub(market_channel)
    prediction = prediction_grpc.PredictionServiceStub(prediction_channel)
    ticker, predict = market_pb.GetTickerRequest(symbol=SYMBOL), prediction_pb.PredictRequest(symbol=SYMBOL)
    http = await stack.enter_async_context(
        aiohttp.ClientSession(running.plain, headers={"authorization": f"Bearer {token}"}, raise_for_status=True)
    )

    async def rest_ticker() -> None:
        async with http.get(f"/v1/symbols/{SYMBOL}/ticker") as response:
            await response.read()

    async def rest_predict() -> None:
        async with http.post("/v1/predict", json={"symbol": SYMBOL}) as response:
            await response.read()

    return {
        ("GetTicker", "directly, gRPC"): lambda: market.GetTicker(ticker, metadata=metadata, timeout=2),
        ("GetTicker", "gateway, gRPC"): lambda: mesh.marketdata.GetTicker(ticker),
        ("GetTicker", "gateway, REST"): rest_ticker,
        ("Predict", "directly, gRPC"): lambda: prediction.Predict(predict, metadata=metadata, timeout=2),
        ("Predict", "gateway, gRPC"): lambda: mesh.prediction.Predict(predict),
        ("Predict", "gateway, REST"): rest_predict,
    }


async def _measure(mesh: Mesh) -> dict[tuple[str, str], list[float]]:
    """Milliseconds of every call."""
    async with AsyncExitStack() as stack:
        calls = await _calls(stack, mesh)
        took: dict[tuple[str, str], list[float]] = {way: [] for way in calls}
        for way, call in calls.items():
            for _ in range(WARM_UP):
                await call()
            took[way].clear()
        for _ in range(ROUNDS):
            for way, call in calls.items():
                for _ in range(CALLS):
                    started = time.perf_counter()
                    await call()
                    took[way].append((time.perf_counter() - started) * 1000)
    return took


def main() -> int:
    """Run the benchmark and print its table."""
    with a_mesh() as mesh:
        took = asyncio.run(_measure(mesh))
    table = Table("method", "way", "p50 ms", "p99 ms", "calls", title="Latency of one caller")
    for (method, way), milliseconds in took.items():
        cuts = statistics.quantiles(milliseconds, n=100)
        table.add_row(method, way, f"{cuts[49]:.2f}", f"{cuts[98]:.2f}", str(len(milliseconds)))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
