"""How long a mesh takes to start, first and again, what memory it needs, and how soon it is whole after each kill -9.

Starts a mesh of its own. The targets: ready again within 20 seconds, whole again within 10.

    .venv/bin/python -m bench.recovery
"""

import os
import signal
import sys
import time

from rich.console import Console
from rich.table import Table

from tests.embedded import Mesh, a_mesh

PROCESSES = ("postgres", "redis", "simex", "auth", "auth-edge", "marketdata", "prediction", "trading", "gateway")
START_TARGET, RECOVERY_TARGET = 20.0, 10.0


def _start(mesh: Mesh) -> float:
    started = time.monotonic()
    mesh.levimesh("up", "--detach")
    return time.monotonic() - started


def _recover(mesh: Mesh, process: str) -> float:
    before = mesh.pid_of(process)
    started = time.monotonic()
    os.kill(before, signal.SIGKILL)
    # The supervisor notices at once; until then the old process is the one that is written down.
    while mesh.pid_of(process) == before:
        time.sleep(0.01)
    mesh.wait_until_whole()
    return time.monotonic() - started


def main() -> int:
    """Run the benchmark and print its tables."""
    began = time.monotonic()
    with a_mesh() as mesh:
        first = time.monotonic() - began
        mesh.levimesh("down")
        second = _start(mesh)
        status = mesh.levimesh("status").stdout
        recoveries = {process: _recover(mesh, process) for process in PROCESSES}
    console = Console()
    console.print(f"first start {first:.1f} s, second start {second:.1f} s (target {START_TARGET:.0f})")
    console.print(status)
    table = Table("killed", "whole again after, s", title=f"Recovery from kill -9 (target {RECOVERY_TARGET:.0f} s)")
    for process, seconds in recoveries.items():
        table.add_row(process, f"{seconds:.1f}")
    console.print(table)
    return 0 if second <= START_TARGET and max(recoveries.values()) <= RECOVERY_TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
