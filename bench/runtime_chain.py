"""What the stages around a call cost: the same GetTicker on a bare server and behind the whole chain, interleaved.

Both speak mTLS. Each runs in a process of its own on one core, the load on the other. Prints the calls per second
(medians over the rounds) and their ratio, which has to be at least 0.85.

    .venv/bin/python -m bench.runtime_chain
"""

import asyncio
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc

from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc as pb_grpc
from levimesh.marketdata.v1 import trade_pb2
from services.runtime.server import listen
from services.stack.certificates import Authority
from tests.mesh import a_token, bearing, files_of, serving

SERVICE = pb.DESCRIPTOR.services_by_name["MarketDataService"]
CALLERS, SECONDS, ROUNDS, TARGET = 16, 3.0, 5, 0.85


async def _echo(_: Any, request: Any, __: Any) -> pb.GetTickerResponse:
    return pb.GetTickerResponse(ticker=trade_pb2.Ticker(symbol=request.symbol))


# Every method has to be there for the server to start; one is called.
Echo = type("Echo", (pb_grpc.MarketDataServiceServicer,), {method.name: _echo for method in SERVICE.methods})


async def _serve(kind: str, certificates: Path, ready: Connection) -> None:
    if kind == "chain":
        async with serving({SERVICE: Echo()}, certificates, workload="marketdata") as served:
            # The key that signs tokens is this process's own.
            ready.send((served.port, a_token("ROLE_TRADER")))
            await asyncio.Event().wait()
    server = grpc.aio.server()
    pb_grpc.add_MarketDataServiceServicer_to_server(Echo(), server)
    ready.send((listen(server, "127.0.0.1:0", files_of(certificates, "marketdata")), a_token("ROLE_TRADER")))
    await server.start()
    await server.wait_for_termination()


def _server(kind: str, certificates: Path, ready: Connection) -> None:
    os.sched_setaffinity(0, {0})
    asyncio.run(_serve(kind, certificates, ready))


async def _rate(port: int, certificates: Path, token: str) -> float:
    """Calls per second with CALLERS callers over SECONDS."""
    options = [("grpc.ssl_target_name_override", "marketdata")]
    credentials = files_of(certificates, "gateway").channel_credentials()
    calls = 0
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options) as channel:
        get_ticker = pb_grpc.MarketDataServiceStub(channel).GetTicker
        request, metadata = pb.GetTickerRequest(symbol="BTC-USDT@simex"), bearing(token)
        await get_ticker(request, metadata=metadata)
        end = time.perf_counter() + SECONDS

        async def caller() -> None:
            nonlocal calls
            while time.perf_counter() < end:
                await get_ticker(request, metadata=metadata, timeout=2)
                calls += 1

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return calls / SECONDS


def main() -> int:
    """Run the comparison; the exit status tells whether the target was met."""
    os.sched_setaffinity(0, {(os.cpu_count() or 1) - 1})
    with tempfile.TemporaryDirectory() as folder:
        certificates = Path(folder, "certificates")
        Authority.open(certificates, Path(folder, "ca.key")).renew()
        spawn = multiprocessing.get_context("spawn")
        servers, processes = {}, []
        for kind in ("bare", "chain"):
            ours, theirs = spawn.Pipe()
            processes.append(process := spawn.Process(target=_server, args=(kind, certificates, theirs), daemon=True))
            process.start()
            servers[kind] = ours.recv()
        rates: dict[str, list[float]] = {"bare": [], "chain": []}
        for _ in range(ROUNDS):
            for kind, (port, token) in servers.items():
                rates[kind].append(asyncio.run(_rate(port, certificates, token)))
        for process in processes:
            process.kill()
    bare, chain = (statistics.median(rates[kind]) for kind in ("bare", "chain"))
    print(
        f"bare server  {bare:8.0f} calls/s\nwhole chain  {chain:8.0f} calls/s\n"
        f"ratio        {chain / bare:8.2f} (target {TARGET})"
    )
    return 0 if chain / bare >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
