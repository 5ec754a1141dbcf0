"""Whether marketdata's memory stays flat: 1,000 trades/s for minutes, to 100 subscribers of which some read nothing.

One of those conflates, so it is not cut and reads nothing from the start to the end; another is cut each time, and
subscribes again. The processes are those of ``marketdata_latency``. Prints the resident memory of marketdata every 15
seconds; what counts is the slope of a line through all of them but those of the first minutes, in which caches, pools
and the ring of the newest events fill.

    .venv/bin/python -m bench.marketdata_memory [minutes]
"""

import asyncio
import os
import platform
import sys
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

import grpc
import numpy as np

from bench.steady_market import SteadyMarket, steady_market
from levimesh.common.v1 import streaming_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc as pb_grpc
from services.runtime.stream_guard import STALLED_SECONDS

TRADES_A_SECOND, ROUND_SECONDS, SUBSCRIBERS, CHANNELS = 1_000, 0.025, 100, 8
MINUTES, WARM_UP_MINUTES, SAMPLE_SECONDS = 8.0, 3.0, 15.0
"""The ring of the newest 10,000 events is full after little more than two minutes."""
SLOPE_TARGET, RATE_TARGET = 1.0, 0.95
"""MiB a minute after the warm-up, and the share of the trades that must have come to those who read."""
_MIB = 1 << 20


class Readers:
    """Streams that are read, and how much has come."""

    def __init__(self) -> None:
        self.trades = 0
        """Of the first one."""
        self.cut: list[float] = []
        """When one of them was cut, in seconds from the start."""
        self._began = time.monotonic()

    async def read(self, channel: grpc.aio.Channel, *, counts: bool) -> None:
        """Read a stream for ever, and another one when it is cut."""
        subscribe: Any = channel.unary_stream(_METHOD)
        while True:
            try:
                async for message in subscribe(b""):
                    if counts:
                        self.trades += len(pb.StreamTradesResponse.FromString(message).trades.trades)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                self.cut.append(time.monotonic() - self._began)


async def _stall_again_and_again(market: SteadyMarket) -> None:
    """Read nothing, be cut, and subscribe again."""
    while True:
        async with market.lazy_channel() as channel:
            stream = pb_grpc.MarketDataServiceStub(channel).StreamTrades(pb.StreamTradesRequest())
            await stream.read()
            await asyncio.sleep(3 * STALLED_SECONDS)
            with suppress(grpc.aio.AioRpcError):
                while await stream.read() is not grpc.aio.EOF:
                    pass


async def _measure(minutes: float) -> tuple[list[float], Readers]:
    """The memory in MiB, again and again."""
    seconds = minutes * 60
    async with (
        steady_market(TRADES_A_SECOND, seconds, ROUND_SECONDS) as market,
        AsyncExitStack() as stack,
        asyncio.TaskGroup() as tasks,
    ):
        readers, reading = Readers(), []
        channels = [await stack.enter_async_context(market.channel()) for _ in range(CHANNELS)]
        for number in range(SUBSCRIBERS - 2):
            channel = channels[number % CHANNELS]
            reading.append(tasks.create_task(readers.read(channel, counts=number == 0)))
        lazy = pb_grpc.MarketDataServiceStub(await stack.enter_async_context(market.lazy_channel()))
        conflating = lazy.StreamTrades(pb.StreamTradesRequest(slow_reader=streaming_pb2.SLOW_READER_CONFLATE))
        await conflating.read()
        reading.append(tasks.create_task(_stall_again_and_again(market)))
        memory = []
        for _ in range(round(seconds / SAMPLE_SECONDS)):
            await asyncio.sleep(SAMPLE_SECONDS)
            memory.append(market.server.memory_info().rss / _MIB)
        for task in reading:
            task.cancel()
        return memory, readers


def main(minutes: float = MINUTES) -> int:
    """Run the benchmark; the exit status tells whether the target was met."""
    load = os.getloadavg()[0]
    memory, readers = asyncio.run(_measure(minutes))
    rate = readers.trades / minutes / 60
    warm = memory[round(WARM_UP_MINUTES * 60 / SAMPLE_SECONDS) :]
    slope = float(np.polynomial.Polynomial.fit(np.arange(len(warm)), warm, 1).convert().coef[1]) * 60 / SAMPLE_SECONDS
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"load before the start {load:.1f}\n"
        f"{minutes:g} minutes of {TRADES_A_SECOND:,} trades/s to {SUBSCRIBERS} subscribers, two of which stall; "
        f"{rate:,.0f} trades/s came, {len(readers.cut)} times a reader was cut that did not stall"
        f"{''.join(f' ({at:.0f} s)' for at in readers.cut[:20])}\n"
        f"  MiB every {SAMPLE_SECONDS:g} s: {' '.join(f'{each:.1f}' for each in memory)}\n"
        f"  after {WARM_UP_MINUTES:g} minutes {slope:+.2f} MiB a minute (target at most {SLOPE_TARGET:g})"
    )
    return 0 if not readers.cut and slope <= SLOPE_TARGET and rate >= RATE_TARGET * TRADES_A_SECOND else 1


_METHOD = "/levimesh.marketdata.v1.MarketDataService/StreamTrades"

if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
