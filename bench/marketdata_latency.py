"""How late a trade is at a subscriber: from its arrival at marketdata to its delivery over mTLS, at 2,000 trades/s.

The way is the real one, in real processes: simex sends trades by its websocket, marketdata reads them with ccxt,
stores them in PostgreSQL (fsync is on), publishes them on Redis, reads them back and streams them. The clock begins
when ccxt hands the trade over (its ``receive_time``), so what websocket and ccxt take before is not in the figures.
Spans in which all subscribers read and spans with one that reads nothing are interleaved; every trade at every
subscriber that reads counts.

    .venv/bin/python -m bench.marketdata_latency
"""

import asyncio
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc

from bench.measuring import percentiles
from bench.steady_market import SteadyMarket, steady_market
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc as pb_grpc

TRADES_A_SECOND, ROUND_SECONDS, SUBSCRIBERS = 2_000, 0.01, 10
ROUNDS, WARM_UP_SECONDS, SPAN_SECONDS = 5, 10.0, 12.0
"""Somebody who reads nothing is cut within ten seconds, so a span holds all of it."""
P99_TARGET_MS, STALLED_TARGET, RATE_TARGET = 10.0, 1.2, 0.95


@dataclass
class Span:
    """What came in some seconds, to all who read."""

    milliseconds: list[float] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Figures:
    """Of a span: milliseconds, and how many trades came to each subscriber in a second."""

    p50: float
    p99: float
    rate: float

    @classmethod
    def medians(cls, spans: Sequence["Figures"]) -> "Figures":
        """Of several spans, each figure by itself."""
        return cls(
            statistics.median(span.p50 for span in spans),
            statistics.median(span.p99 for span in spans),
            statistics.median(span.rate for span in spans),
        )

    def __str__(self) -> str:
        return f"{self.rate:7,.0f} trades/s, p50 {self.p50:6.2f} ms, p99 {self.p99:6.2f} ms"


class Subscribers:
    """Streams that are read, and how late the trades in them are."""

    def __init__(self) -> None:
        self._span: Span | None = None

    async def read(self, stream: Any) -> None:
        """Read ``stream`` for ever."""
        async for response in stream:
            if self._span is None:
                continue
            now = time.time()
            late = self._span.milliseconds
            for trade in response.trades.trades:
                received = trade.receive_time
                late.append((now - received.seconds) * 1e3 - received.nanos / 1e6)

    async def measure(self, seconds: float) -> Figures:
        """What comes within ``seconds``."""
        self._span = span = Span()
        await asyncio.sleep(seconds)
        self._span = None
        p50, p99 = percentiles(span.milliseconds)
        return Figures(p50, p99, len(span.milliseconds) / SUBSCRIBERS / (time.monotonic() - span.began))


async def _measure(rounds: int) -> tuple[list[Figures], list[Figures]]:
    """The spans in which all read, and those with one who does not."""
    seconds = WARM_UP_SECONDS + rounds * (2 * SPAN_SECONDS + 2)
    calm, stalled = [], []
    async with (
        steady_market(TRADES_A_SECOND, seconds, ROUND_SECONDS) as market,
        AsyncExitStack() as stack,
        asyncio.TaskGroup() as tasks,
    ):
        subscribers, readers = Subscribers(), []
        for _ in range(SUBSCRIBERS):
            channel = await stack.enter_async_context(market.channel())
            stream = pb_grpc.MarketDataServiceStub(channel).StreamTrades(pb.StreamTradesRequest())
            readers.append(tasks.create_task(subscribers.read(stream)))
        await asyncio.sleep(WARM_UP_SECONDS)
        for _ in range(rounds):
            calm.append(await subscribers.measure(SPAN_SECONDS))
            stalled.append(await _with_one_stalled(market, subscribers))
        for reader in readers:
            reader.cancel()
    return calm, stalled


async def _with_one_stalled(market: SteadyMarket, subscribers: Subscribers) -> Figures:
    async with market.lazy_channel() as channel:
        stream = pb_grpc.MarketDataServiceStub(channel).StreamTrades(pb.StreamTradesRequest())
        await stream.read()
        figures = await subscribers.measure(SPAN_SECONDS)
        try:
            while await stream.read() is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                return figures
        raise RuntimeError("the subscriber that read nothing was not cut, so it has not stalled")


def main(rounds: int = ROUNDS) -> int:
    """Run the benchmark; the exit status tells whether the targets were met."""
    load = os.getloadavg()[0]
    calm, stalled = (Figures.medians(spans) for spans in asyncio.run(_measure(rounds)))
    slower = stalled.p99 / calm.p99
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"load before the start {load:.1f}\n"
        f"{TRADES_A_SECOND:,} trades/s to {SUBSCRIBERS} subscribers, receiving to delivery, medians of {rounds} spans\n"
        f"  all read     {calm} (target {P99_TARGET_MS:g})\n"
        f"  one stalled  {stalled}, {slower:.2f} times (target {STALLED_TARGET})"
    )
    kept_up = min(calm.rate, stalled.rate) >= RATE_TARGET * TRADES_A_SECOND
    return 0 if kept_up and slower <= STALLED_TARGET and calm.p99 < P99_TARGET_MS else 1


if __name__ == "__main__":
    sys.exit(main())
