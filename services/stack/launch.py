"""Starting the supervisor in the background, waiting for it, and ending it: what the commands do."""

import asyncio
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from textwrap import indent
from typing import Any

from services.stack import control, orphans
from services.stack.logs import last_error, open_log
from services.stack.ports import check_free
from services.stack.settings import StackSettings
from services.stack.sources import Source, SourceError
from services.stack.state import Memory, State

_POLL_SECONDS = 0.1

Status = dict[str, Any]


class StartFailed(Exception):
    """The mesh does not become ready; the message says which processes are not, and why."""


def is_running(state: State) -> bool:
    """Whether a supervisor holds the state folder."""
    if not state.lock.exists():
        return False
    with state.lock.open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def check(settings: StackSettings, state: State, source: str | None, speed: float | None) -> Memory:
    """What the mesh will run with, after everything has been checked that can be before a start.

    A state folder stays with the source that filled it. Raises StateUnusable, SourceError or PortTaken.
    """
    known = Memory.of(state)
    wanted = Source.parse(source or (known.source if known else "simex"))
    if known is not None and known.source != str(wanted):
        raise SourceError(
            f"the data in {state.path} came from {known.source}, and markets must not be mixed: "
            f"start without --source, or give {wanted} a folder of its own with --state"
        )
    remembered = known or Memory(str(wanted))
    # An exchange that cannot be reached any more does not keep its stored data from being served.
    if wanted.needs_simex or "history" not in remembered.done:
        wanted.check()
    orphans.end(orphans.read(state.processes))
    check_free(settings.ports())
    return Memory(remembered.source, remembered.speed if speed is None else speed, remembered.done)


def spawn(state: State) -> "subprocess.Popen[bytes]":
    """Start the supervisor in the background: it survives this process and its terminal."""
    with open_log(_log(state)) as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "services.stack"],
            env={**os.environ, "LEVIMESH_STATE": str(state.path)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


async def wait_until_ready(
    state: State,
    supervisor: "subprocess.Popen[bytes] | None",
    show: Callable[[Status], None],
    patience: float,
) -> Status:
    """Wait until the mesh is ready, showing each status on the way.

    Raises StartFailed when the supervisor ends, when a process dies again and again, or when nothing has moved for
    ``patience`` seconds.
    """
    clock = asyncio.get_running_loop().time
    moved, before = clock(), ""
    while True:
        if supervisor is not None and supervisor.poll() is not None:
            raise StartFailed(f"the supervisor ended: {last_error(_log(state))}\n  its log: {_log(state)}")
        try:
            status = await control.ask(state.control_socket, "status")
        except control.NotRunning:
            status = {"ready": False, "processes": [], "step": None, "progress": []}
        show(status)
        if status["ready"]:
            return status
        if (now := _movement(status)) != before:
            moved, before = clock(), now
        if any(process["hopeless"] for process in status["processes"]) or clock() - moved > patience:
            raise StartFailed(_explain(state, status))
        await asyncio.sleep(_POLL_SECONDS)


async def down(state: State, show: Callable[[Status], None] = lambda _: None) -> bool:
    """Stop the mesh and wait for its end; also end what a killed supervisor left. False when nothing ran."""
    if not state.path.is_dir():
        return False
    left = orphans.read(state.processes)
    if not is_running(state):
        orphans.end(left)
        state.processes.unlink(missing_ok=True)
        return bool(left)
    with suppress(control.NotRunning):
        await control.ask(state.control_socket, "down")
    for _ in iter(lambda: is_running(state), False):
        with suppress(control.NotRunning):
            show(await control.ask(state.control_socket, "status"))
        await asyncio.sleep(_POLL_SECONDS)
    return True


async def abandon(state: State, supervisor: "subprocess.Popen[bytes] | None") -> None:
    """Undo a start that fails: end the mesh of ``supervisor``, but none that somebody else has started meanwhile."""
    if supervisor is not None and (supervisor.poll() is None or not is_running(state)):
        await down(state)


def _movement(status: Status) -> str:
    return repr(
        (
            [(process["name"], process["condition"]) for process in status["processes"]],
            status["step"] and status["step"]["what"],
            [(step["what"], step["fraction"], step["note"]) for step in status["progress"]],
        )
    )


def _explain(state: State, status: Status) -> str:
    lines = ["the mesh does not become ready:"]
    if not status["processes"]:
        lines += ["  its supervisor does not answer", *_end_of(_log(state))]
    for process in status["processes"]:
        if process["condition"] != "ready" or process["problem"]:
            lines.append(f"  {process['name']} ({process['condition']}): {process['problem']}")
            lines += _end_of(Path(process["log"]))
    if step := status["step"]:
        why = f"does not succeed: {step['problem']}" if step["problem"] else "is not done yet"
        lines.append(f"  {step['what']} {why}")
        lines += [f"    {each['what']}: {each['fraction']:.0%}, {each['note']}" for each in _undone(status)]
        lines.append(f"    the supervisor's log: {_log(state)}")
    lines.append(
        "Mend that, and `levimesh up` goes on where it was left; `levimesh logs NAME` shows more, and "
        "`levimesh up --patience SECONDS` waits longer."
    )
    return "\n".join(lines)


def _end_of(log: Path) -> list[str]:
    error = last_error(log)
    return [*([indent(error, "    ")] if error else []), f"    its log: {log}"]


def _undone(status: Status) -> list[dict[str, Any]]:
    return [step for step in status["progress"] if step["fraction"] < 1]


def _log(state: State) -> Path:
    return state.logs / "stack.log"
