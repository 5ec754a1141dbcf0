"""How fast trades reach 100 subscribers: through marketdata's streams, and from a bare grpc.aio server, in turns.

Both servers speak mTLS, each in a process of its own on one core, and send the same messages; the subscribers are on
the other core. Prints the trades delivered per second when they come in bursts (medians over the rounds) and the ratio,
and how late messages are at 2,000 trades/s with and without a subscriber that reads nothing, and how soon that one is
cut.

    .venv/bin/python -m bench.marketdata_fanout
"""

import asyncio
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import grpc

from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from services.marketdata.adapters.journal import TRADES
from services.marketdata.converters import market as convert
from services.marketdata.converters.streams import pack_trades_alone
from services.runtime.journal import START, Entry, RedisJournal
from services.runtime.ring import cut
from services.runtime.server import listen
from services.runtime.stream_guard import STALLED_SECONDS
from services.runtime.streaming import length_delimited
from services.stack.certificates import Authority
from tests.live import LiveWorld, a_trade
from tests.mesh import files_of

SUBSCRIBERS, CHANNELS, ROUNDS, BURSTS = 100, 8, 5, 3
ENTRIES, TRADES_EACH = 20, 500
"""Of a burst."""
PACE_SECONDS, TRADES_AT_ONCE, CALM_SECONDS, STALLS = 0.01, 20, 8.0, 3
TARGET, RATIO_TARGET, P99_TARGET, CUT_TARGET = 1_000_000, 0.5, 1.2, 10.0
METHOD = "/levimesh.marketdata.v1.MarketDataService/StreamTrades"
_FIRST = 1 << 21
"""Sequences from here on are of the same size in a message, so that trades are counted by bytes."""
_TOKEN = pb.StreamTradesResponse.DESCRIPTOR.fields_by_name["resume_token"].number


class MemoryJournal:
    """One topic in memory, as far as a Broadcast needs a journal."""

    def __init__(self) -> None:
        self._arrived: dict[str, asyncio.Queue[list[Entry]]] = {}
        self._count = 0

    def put(self, topic: str, events: Sequence[bytes]) -> None:
        """Append events of one key, which arrive together."""
        entries = [Entry(f"{self._count + index + 1}-0", "BTC-USDT@simex", event) for index, event in enumerate(events)]
        self._count += len(entries)
        self._of(topic).put_nowait(entries)

    async def last_offset(self, _: str) -> str:
        return START

    async def holds(self, _: str, __: str) -> bool:
        return True

    async def tail(self, topic: str, _: str) -> AsyncIterator[list[Entry]]:
        while True:
            yield await self._of(topic).get()

    def _of(self, topic: str) -> asyncio.Queue[list[Entry]]:
        return self._arrived.setdefault(topic, asyncio.Queue())


def _batch(count: int, trade_id: str = "") -> bytes:
    """A serialised batch of trades."""
    return convert.trades_to_pb(
        a_trade(_FIRST + index, trade_id=trade_id or f"{_FIRST + index}") for index in range(count)
    ).SerializeToString()


def _messages() -> list[bytes]:
    """What the streams send for a burst."""
    entries = [Entry(f"{index}-0", "BTC-USDT@simex", _batch(TRADES_EACH)) for index in range(ENTRIES)]
    return [pack_trades_alone(part) + length_delimited(_TOKEN, part[-1].offset.encode()) for part in cut(entries)]


class _Bare:
    """The least that a grpc.aio server does to send the same to all."""

    def __init__(self) -> None:
        self._messages = _messages()
        self._bursts = 0
        self._go = asyncio.Event()

    def burst(self) -> None:
        self._bursts += 1
        self._go.set()
        self._go = asyncio.Event()

    async def stream(self, _: bytes, __: Any) -> AsyncIterator[bytes]:
        yield b""
        sent = self._bursts
        while True:
            if sent == self._bursts:
                await self._go.wait()
            sent += 1
            for message in self._messages:
                yield message


async def _serve_bare(certificates: Path, pipe: Connection) -> None:
    bare, server = _Bare(), grpc.aio.server()
    service, _, name = METHOD[1:].partition("/")
    handlers: dict[str, Any] = {name: grpc.unary_stream_rpc_method_handler(bare.stream)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    pipe.send(listen(server, "127.0.0.1:0", files_of(certificates, "marketdata")))
    await server.start()
    async for _ in _commands(pipe):
        bare.burst()


async def _serve_mesh(certificates: Path, pipe: Connection) -> None:
    journal = MemoryJournal()
    burst = [_batch(TRADES_EACH) for _ in range(ENTRIES)]
    world = LiveWorld("", certificates, cast(RedisJournal, journal))
    async with world.replica() as replica:
        pipe.send(replica.served.port)
        steady: asyncio.Task[None] | None = None
        async for command in _commands(pipe):
            match command:
                case "burst":
                    journal.put(TRADES, burst)
                case "steady":
                    steady = asyncio.create_task(_steadily(journal))
                case "stop" if steady is not None:
                    steady.cancel()
                case "streams":
                    pipe.send(replica.served.registry.get_sample_value("grpc_server_running", {"grpc_method": METHOD}))


async def _steadily(journal: MemoryJournal) -> None:
    """2,000 trades a second, whose ids tell when they were published."""
    due = time.monotonic()
    while True:
        due += PACE_SECONDS
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        journal.put(TRADES, [_batch(TRADES_AT_ONCE, f"{time.monotonic_ns()}")])


async def _commands(pipe: Connection) -> AsyncIterator[str]:
    loop, arrived = asyncio.get_running_loop(), asyncio.Queue[str]()
    loop.add_reader(pipe.fileno(), lambda: arrived.put_nowait(pipe.recv()))
    while True:
        yield await arrived.get()


def _server(kind: str, certificates: Path, pipe: Connection) -> None:
    os.sched_setaffinity(0, {0})
    asyncio.run(_serve_bare(certificates, pipe) if kind == "bare" else _serve_mesh(certificates, pipe))


class Subscribers:
    """Many streams that are read, and how much has come."""

    def __init__(self, wanted: int, batch_bytes: int) -> None:
        self._wanted = wanted * batch_bytes
        self._left = 0
        self._all = asyncio.Event()
        self.latencies: list[float] | None = None
        """Seconds from the publishing of a message to its arrival, while they are measured."""

    async def expect(self) -> None:
        """Wait until the next burst has come to all."""
        await self._all.wait()

    def begin(self) -> None:
        """Another burst is on its way."""
        self._left, self._all = SUBSCRIBERS, asyncio.Event()

    async def read(self, stream: Any, *, measures: bool) -> None:
        """Read ``stream`` for ever."""
        got = 0
        async for message in stream:
            if message[:1] != b"\x0a":
                continue
            if self.latencies is not None:
                if measures:
                    newest = pb.StreamTradesResponse.FromString(message).trades.trades[-1]
                    self.latencies.append((time.monotonic_ns() - int(newest.trade_id)) / 1e9)
                continue
            got += _varint(message, 1)
            if got >= self._wanted:
                got, self._left = 0, self._left - 1
                if not self._left:
                    self._all.set()


def _varint(message: bytes, at: int) -> int:
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number
        at, shift = at + 1, shift + 7


@asynccontextmanager
async def _subscribed(port: int, certificates: Path) -> AsyncIterator[tuple[Subscribers, list[grpc.aio.Channel]]]:
    """100 streams on a few channels, of which the last has no reader yet."""
    subscribers = Subscribers(ENTRIES, len(_batch(TRADES_EACH)))
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(_channel(port, certificates)) for _ in range(CHANNELS)]
        streams = []
        for number in range(SUBSCRIBERS):
            subscribe: Any = channels[number % CHANNELS].unary_stream(METHOD)
            stream = aiter(subscribe(b""))
            await anext(stream)
            streams.append(stream)
        readers = [
            asyncio.create_task(subscribers.read(stream, measures=number % 10 == 0))
            for number, stream in enumerate(streams)
        ]
        yield subscribers, channels
        for reader in readers:
            reader.cancel()


def _channel(port: int, certificates: Path, **options: int) -> grpc.aio.Channel:
    known = [("grpc.ssl_target_name_override", "marketdata"), ("grpc.use_local_subchannel_pool", 1)]
    known += [("grpc.max_receive_message_length", -1), *((f"grpc.{key}", value) for key, value in options.items())]
    # A workload that calls for itself: it may have as many streams as it likes.
    credentials = files_of(certificates, "prediction").channel_credentials()
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=known)


async def _rates(servers: dict[str, tuple[int, Connection]], certificates: Path) -> dict[str, list[float]]:
    """Trades delivered per second, in every round."""
    rates: dict[str, list[float]] = {kind: [] for kind in servers}
    async with AsyncExitStack() as stack:
        subscribed = {
            kind: (await stack.enter_async_context(_subscribed(port, certificates)))[0]
            for kind, (port, _) in servers.items()
        }
        for round_ in range(ROUNDS + 1):
            for kind, (_, pipe) in servers.items():
                started = time.perf_counter()
                for _ in range(BURSTS):
                    subscribed[kind].begin()
                    pipe.send("burst")
                    await subscribed[kind].expect()
                # The first round warms up.
                if round_:
                    count = SUBSCRIBERS * BURSTS * ENTRIES * TRADES_EACH
                    rates[kind].append(count / (time.perf_counter() - started))
    return rates


async def _latencies(port: int, pipe: Connection, certificates: Path) -> tuple[list[float], list[float], list[float]]:
    """The p99 of quiet spans and of those with a stalled reader, and after how long each of those was cut."""
    calm, stalled, cut_after = [], [], []
    async with _subscribed(port, certificates) as (subscribers, _):
        pipe.send("steady")
        await asyncio.sleep(1)
        for _ in range(STALLS):
            calm.append(await _p99(subscribers, CALM_SECONDS))
            # Little of what is not read has room on the way, so that it is noticed soon.
            async with _channel(port, certificates, **{"http2.lookahead_bytes": 65_535, "http2.bdp_probe": 0}) as alone:
                subscribe: Any = alone.unary_stream(METHOD)
                stream = subscribe(b"")
                await stream.read()
                measuring = asyncio.create_task(_p99(subscribers, STALLED_SECONDS + 2))
                cut_after.append(await _until_cut(pipe))
                stalled.append(await measuring)
        pipe.send("stop")
    return calm, stalled, cut_after


async def _p99(subscribers: Subscribers, seconds: float) -> float:
    subscribers.latencies = []
    await asyncio.sleep(seconds)
    latencies, subscribers.latencies = subscribers.latencies, []
    return statistics.quantiles(latencies, n=100)[98]


async def _until_cut(pipe: Connection) -> float:
    """Seconds until the server has none but the subscribers that read."""
    started = time.perf_counter()
    while True:
        pipe.send("streams")
        while not pipe.poll():  # noqa: ASYNC110 - another process sets no event here
            await asyncio.sleep(0.05)
        if pipe.recv() <= SUBSCRIBERS:
            return time.perf_counter() - started


def main() -> int:
    """Run the comparison; the exit status tells whether the targets were met."""
    os.sched_setaffinity(0, {(os.cpu_count() or 1) - 1})
    with tempfile.TemporaryDirectory() as folder:
        certificates = Path(folder, "certificates")
        Authority.open(certificates, Path(folder, "ca.key")).renew()
        spawn = multiprocessing.get_context("spawn")
        servers, processes = {}, []
        for kind in ("bare", "mesh"):
            ours, theirs = spawn.Pipe()
            processes.append(process := spawn.Process(target=_server, args=(kind, certificates, theirs), daemon=True))
            process.start()
            servers[kind] = (ours.recv(), ours)
        rates = asyncio.run(_rates(servers, certificates))
        calm, stalled, cut_after = asyncio.run(_latencies(*servers["mesh"], certificates))
        for process in processes:
            process.kill()
    return _report(rates, calm, stalled, cut_after)


def _report(
    rates: dict[str, list[float]], calm: Sequence[float], stalled: Sequence[float], cut_after: Sequence[float]
) -> int:
    bare, mesh = (statistics.median(rates[kind]) for kind in ("bare", "mesh"))
    slower = statistics.median(stalled) / statistics.median(calm)
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n"
        f"bursts of {ENTRIES * TRADES_EACH:,} trades to {SUBSCRIBERS} subscribers, delivered\n"
        f"  bare server  {bare:12,.0f} trades/s\n"
        f"  marketdata   {mesh:12,.0f} trades/s (target {TARGET:,})\n"
        f"  ratio        {mesh / bare:12.2f} (target {RATIO_TARGET})\n"
        f"2,000 trades/s to {SUBSCRIBERS} subscribers, publishing to arrival, p99\n"
        f"  all read     {statistics.median(calm) * 1000:12.1f} ms\n"
        f"  one stalled  {statistics.median(stalled) * 1000:12.1f} ms, {slower:.2f} times (target {P99_TARGET})\n"
        f"  cut after    {max(cut_after):12.1f} s (target {CUT_TARGET:g})"
    )
    met = mesh >= TARGET and mesh / bare >= RATIO_TARGET and slower <= P99_TARGET and max(cut_after) <= CUT_TARGET
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
