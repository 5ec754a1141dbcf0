"""What a storm of logins does to orders: SubmitOrder through the gateway while 100 people log in at once.

Starts a mesh of its own. The target: the 99th percentile of SubmitOrder is at most a fifth longer than in quiet. Rounds
in quiet, in a storm and beside a busy loop of the lowest priority are interleaved, as many orders in each, and the
percentiles are over all rounds. The busy loop says what any work does that merely keeps a core from being idle: what
logins do beyond it is their own. What each process computed meanwhile says where the rest comes from.

    .venv/bin/python -m bench.login_storm
"""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal

import grpc
import psutil
from rich.console import Console
from rich.table import Table

from bench.measuring import SYMBOL, UNLIMITED, milliseconds, percentiles
from levimesh.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from levimesh.client import Client
from levimesh.trading.v1 import order_pb2, trading_service_pb2
from services.runtime.decimals import to_pb
from tests.embedded import Mesh, a_mesh

STORMS, LOGINS, WARM_UP, TARGET = 8, 100, 100, 1.2
_QUANTITY = Decimal("0.0002")
_BUSY = (
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE,
)
_BUSY_LOOP = "import os; os.nice(19)\nwhile True: pass"


@dataclass
class Measured:
    """Milliseconds of calls, and seconds that each process of the mesh computed in the storms."""

    quiet: list[float] = field(default_factory=list)
    storm: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    logins: list[float] = field(default_factory=list)
    refused: int = 0
    """Logins that there was no place for, or no time."""
    computed: Counter[str] = field(default_factory=Counter)


async def _measure(mesh: Mesh) -> Measured:
    measured = Measured()
    with _crowd(mesh) as log_in:
        async with Client.connect(mesh.profile) as client:
            for _ in range(WARM_UP):
                await _submit(client)
            for _ in range(STORMS):
                await _one_round(mesh, client, log_in, measured)
    return measured


async def _one_round(mesh: Mesh, client: Client, log_in: Callable[[], list[float]], measured: Measured) -> None:
    before = _computed(mesh)
    storm = asyncio.create_task(asyncio.to_thread(log_in))
    orders = 0
    while not storm.done():
        measured.storm.append(await milliseconds(lambda: _submit(client)))
        orders += 1
    measured.computed += _computed(mesh) - before
    logins = await storm
    measured.logins += logins
    measured.refused += LOGINS - len(logins)
    measured.quiet += [await milliseconds(lambda: _submit(client)) for _ in range(orders)]
    with _busy_loop():
        measured.busy += [await milliseconds(lambda: _submit(client)) for _ in range(orders)]


async def _submit(client: Client) -> None:
    await client.trading.SubmitOrder(
        trading_service_pb2.SubmitOrderRequest(
            client_order_id=str(uuid.uuid4()),
            symbol=SYMBOL,
            side=order_pb2.SIDE_BUY,
            type=order_pb2.ORDER_TYPE_MARKET,
            quantity=to_pb(_QUANTITY),
        )
    )


def _computed(mesh: Mesh) -> Counter[str]:
    """Seconds of processor time so far, by process, the connections of PostgreSQL with it."""
    running = json.loads((mesh.state / "stack.json").read_text())["processes"]
    return Counter({each["name"]: _seconds(psutil.Process(each["pid"])) for each in running})


def _seconds(process: psutil.Process) -> float:
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)


@contextmanager
def _busy_loop() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", _BUSY_LOOP]) as process:  # noqa: S603 - our own arguments
        try:
            yield
        finally:
            process.kill()


@contextmanager
def _crowd(mesh: Mesh) -> Iterator[Callable[[], list[float]]]:
    """Logs LOGINS people in at once whenever it is told to, from a process of its own that runs all the time.

    It gives way to the mesh, as callers on other machines do.
    """
    command = [sys.executable, "-m", "bench.login_storm", "logins", mesh.tls.removeprefix("https://")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own arguments
        said, heard = process.stdin, process.stdout
        assert said is not None  # noqa: S101 - both are pipes
        assert heard is not None  # noqa: S101

        def tell(line: str) -> str:
            said.write(f"{line}\n")
            said.flush()
            return heard.readline()

        def log_in() -> list[float]:
            took: list[float] = json.loads(tell("now"))
            return took

        tell(json.dumps({"admin": mesh.admin, "authority": mesh.authority.read_text()}))
        yield log_in
        said.close()


def _be_the_crowd(target: str) -> None:
    os.nice(10)
    who = json.loads(sys.stdin.readline())
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(asyncio.run(_log_in_at_once(target, **who))), flush=True)


async def _log_in_at_once(target: str, authority: str, admin: dict[str, str]) -> list[float]:
    """Milliseconds of each login that was let in."""
    request = auth_service_pb2.LoginRequest(username=admin["username"], password=admin["password"])
    async with grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(authority.encode())) as channel:
        await channel.channel_ready()
        stub = auth_service_pb2_grpc.AuthServiceStub(channel)

        async def log_in() -> float | None:
            try:
                return await milliseconds(lambda: stub.Login(request, timeout=30))
            except grpc.aio.AioRpcError as error:
                if error.code() not in _BUSY:
                    raise
                return None

        took = await asyncio.gather(*(log_in() for _ in range(LOGINS)))
    return [each for each in took if each is not None]


def main() -> int:
    """Run the benchmark; the exit status tells whether the target was met."""
    console = Console()
    with a_mesh(LEVIMESH_RATE_LIMIT_SCALE=UNLIMITED) as mesh:
        measured = asyncio.run(_measure(mesh))
    table = Table("call", "p50 ms", "p99 ms", "calls", title=f"{LOGINS} logins at once, {measured.refused} refused")
    rows = {
        "SubmitOrder in quiet": measured.quiet,
        "SubmitOrder beside a busy loop": measured.busy,
        "SubmitOrder in a storm": measured.storm,
        "Login": measured.logins,
    }
    for name, took in rows.items():
        p50, p99 = percentiles(took)
        table.add_row(name, f"{p50:.2f}", f"{p99:.2f}", str(len(took)))
    console.print(table)
    computed = ", ".join(f"{name} {seconds:.1f}" for name, seconds in measured.computed.most_common())
    console.print(f"seconds computed in the storms on {os.cpu_count()} cores: {computed}")
    quiet, busy, storm = (percentiles(took)[1] for took in (measured.quiet, measured.busy, measured.storm))
    console.print(f"p99 of SubmitOrder beside a busy loop / in quiet: {busy / quiet:.2f}")
    console.print(f"p99 of SubmitOrder in a storm / in quiet: {storm / quiet:.2f} (target {TARGET})")
    return 0 if storm / quiet <= TARGET else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["logins"]:
        _be_the_crowd(sys.argv[2])
        sys.exit(0)
    sys.exit(main())
