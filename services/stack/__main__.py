"""``python -m services.stack``: the supervisor of the mesh. ``levimesh up`` starts it; SIGTERM stops everything."""

import asyncio
import fcntl
import logging
import os
import signal
import sys
from typing import Any

from services.runtime.logging import configure
from services.stack import control, orphans
from services.stack.mesh import Mesh
from services.stack.settings import StackSettings
from services.stack.state import Memory, State, StateUnusable
from services.stack.supervisor import UnknownProcess


async def main(settings: StackSettings, state: State, memory: Memory) -> None:
    """Run the mesh until told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    mesh = Mesh(settings, state, memory)

    async def down() -> dict[str, Any]:
        stop.set()
        return {}

    handlers: dict[str, control.Handler] = {"status": mesh.status, "restart": mesh.restart, "down": down}
    async with control.serving(state.control_socket, handlers, (UnknownProcess,)), mesh.running():
        await stop.wait()


def run() -> None:
    """Take the state folder for this process alone, end what a killed predecessor left, and run."""
    os.umask(0o077)
    settings = StackSettings()
    state = State.at(settings.state)
    try:
        memory = Memory.of(state)
    except StateUnusable as error:
        sys.exit(str(error))
    if memory is None:
        sys.exit(f"there is no mesh in {state.path}; make one with: levimesh up")
    with state.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"a mesh is running in {state.path} already")
        configure("stack")
        logging.getLogger("alembic").setLevel(logging.WARNING)
        orphans.end(orphans.read(state.processes))
        try:
            state.make_sockets()
        except OSError as error:
            sys.exit(str(error))
        try:
            asyncio.run(main(settings, state, memory))
        except StateUnusable as error:
            sys.exit(str(error))


if __name__ == "__main__":
    run()
