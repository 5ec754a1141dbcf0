"""``levimesh up``, ``down``, ``status``, ``logs``, ``restart``: the whole mesh on this machine."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.live import Live

from levimesh.client.profile import embedded
from services.cli.dashboard import Dashboard
from services.cli.display import console
from services.cli.session import fail
from services.stack import control, launch, logs, screen
from services.stack.ports import PortTaken
from services.stack.settings import StackSettings
from services.stack.sources import SourceError
from services.stack.state import State, StateUnusable
from services.stack.wheels import NotInstalled

app = typer.Typer()

StateFolder = Annotated[
    Path | None, typer.Option("--state", help="The state folder; LEVIMESH_STATE or .levimesh without it.")
]
_NOT_READY = 1


@app.command()
def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when it is ready; it runs on.")] = False,
    source: Annotated[
        str | None, typer.Option(help="simex, replay:FOLDER or ccxt:EXCHANGE; a state folder keeps its first one.")
    ] = None,
    speed: Annotated[
        float | None, typer.Option(help="How many times faster than real time simex runs.", min=0.001, max=100_000)
    ] = None,
    state: StateFolder = None,
    patience: Annotated[float, typer.Option(help="Give up when nothing has moved for so many seconds.", min=1)] = 180.0,
) -> None:
    """Start the mesh and watch it; Ctrl-C stops it in order. A state folder is continued where it was left."""
    settings, folder = settings_and_state(state)
    was_running = launch.is_running(folder)
    if was_running and (source is not None or speed is not None):
        fail("the mesh is running; to change its source or speed, stop it first with: levimesh down")
    supervisor = None
    if not was_running:
        try:
            memory = launch.check(settings, folder, source, speed)
            folder.make()
        except (StateUnusable, SourceError, PortTaken, NotInstalled) as error:
            fail(str(error))
        memory.save(folder)
        supervisor = launch.spawn(folder)
    had_admin = folder.admin.exists()
    try:
        status = asyncio.run(_start(folder, supervisor, patience))
    except launch.StartFailed as error:
        asyncio.run(launch.abandon(folder, supervisor))
        fail(str(error))
    except KeyboardInterrupt:
        if not was_running:
            console.print("Stopping …")
        asyncio.run(launch.abandon(folder, supervisor))
        raise typer.Exit(130) from None
    if was_running:
        console.print("The mesh is running already.")
    _introduce(status, folder, first=not had_admin)
    if not detach:
        asyncio.run(_watch(folder, status, stop_at_end=not was_running))


@app.command()
def down(state: StateFolder = None) -> None:
    """Stop the mesh in order."""
    _, folder = settings_and_state(state)
    if not asyncio.run(_show_while(folder, launch.down)):
        console.print("Nothing runs here.")
        return
    console.print("Stopped.")


@app.command()
def status(
    state: StateFolder = None, *, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False
) -> None:
    """Show the processes. The exit code is 0 when all are ready, else 1."""
    _, folder = settings_and_state(state)
    answer = _ask(folder, "status")
    if as_json:
        console.out(json.dumps(answer, indent=2))
    else:
        console.print(screen.processes(answer))
        console.print(screen.progress(answer))
    if not answer["ready"]:
        raise typer.Exit(_NOT_READY)


@app.command()
def restart(
    process: Annotated[str, typer.Argument(help="Its name, as in `levimesh status`.")], state: StateFolder = None
) -> None:
    """Restart one process in good order and wait until it is ready."""
    _, folder = settings_and_state(state)
    _ask(folder, "restart", seconds=120.0, name=process)
    console.print(f"{process} is ready again.")


@app.command(name="logs")
def show_logs(
    process: Annotated[str | None, typer.Argument(help="Its name, as in `levimesh status`; all without it.")] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines to show.", min=0)] = 50,
    state: StateFolder = None,
) -> None:
    """Show what the processes have logged."""
    _, folder = settings_and_state(state)
    known = {path.stem: path for path in sorted(folder.logs.glob("*.log"))}
    if process is not None and process not in known:
        fail(f"there is no log of {process}; there are {', '.join(known) or 'none'}")
    chosen = {name: path for name, path in known.items() if process in {None, name}}
    for name, path in chosen.items():
        for line in logs.last_lines(path, lines):
            _print_line(name, line, alone=process is not None)
    if follow:
        with suppress(KeyboardInterrupt):
            asyncio.run(_follow(chosen.values(), alone=process is not None))


async def _start(folder: State, supervisor: Any, patience: float) -> launch.Status:
    with Live(console=console, transient=True, refresh_per_second=8) as live:
        return await launch.wait_until_ready(
            folder, supervisor, lambda status: live.update(screen.starting(status)), patience
        )


async def _watch(folder: State, first: launch.Status, *, stop_at_end: bool) -> None:
    """The live screen until Ctrl-C, and then the end of the mesh, if it was started here."""
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
    dashboard = Dashboard(folder, first)
    with Live(dashboard, console=console, refresh_per_second=4):
        following = asyncio.create_task(dashboard.follow(embedded(folder.path)))
        waiting = asyncio.create_task(interrupted.wait())
        await asyncio.wait({following, waiting}, return_when=asyncio.FIRST_COMPLETED)
        for task in (following, waiting):
            task.cancel()
        outcome, _ = await asyncio.gather(following, waiting, return_exceptions=True)
    if isinstance(outcome, BaseExceptionGroup):
        _, unexpected = outcome.split(control.NotRunning)
        if unexpected is not None:
            raise unexpected
    if stop_at_end and interrupted.is_set():
        console.print("Stopping …")
        await _show_while(folder, launch.down)
        console.print("Stopped.")


async def _show_while(folder: State, work: Callable[[State, Callable[[launch.Status], None]], Awaitable[bool]]) -> bool:
    with Live(console=console, transient=True, refresh_per_second=8) as live:
        return await work(folder, lambda status: live.update(screen.processes(status)))


async def _follow(paths: Iterable[Path], *, alone: bool) -> None:
    async for path, line in logs.follow(paths):
        _print_line(path.stem, line, alone=alone)


def _print_line(name: str, line: str, *, alone: bool) -> None:
    console.out(line if alone else f"{name:<11}{line}", highlight=False)


def _introduce(status: launch.Status, folder: State, *, first: bool) -> None:
    """Say what somebody wants to know who has just started a mesh; its password only the first time."""
    lines = [
        f"LeviMesh became ready in {status['seconds_to_ready']:.1f} s, with market data from {status['source']}.",
        f"  gateway   {status['gateway']}  (certificate authority: {folder.certificates / 'ca.pem'})",
        f"            {status['plain']}  (without TLS, for this machine)",
        f"  admin     user and password are in {folder.admin}",
    ]
    if first and folder.admin.exists():
        admin = json.loads(folder.admin.read_text())
        lines[-1] = f"  admin     {admin['username']} / {admin['password']}  (kept in {folder.admin})"
    lines.append("  next      levimesh watch · levimesh portfolio · levimesh status · levimesh down")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def settings_and_state(state: Path | None) -> tuple[StackSettings, State]:
    """The settings of the stack, and its state folder; ends with an explanation when they cannot be used."""
    try:
        settings = StackSettings() if state is None else StackSettings(state=state)
    except ValidationError as error:
        fail("\n".join(f"LEVIMESH_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors()))
    return settings, State.at(settings.state)


def _ask(folder: State, command: str, **arguments: Any) -> launch.Status:
    try:
        return asyncio.run(control.ask(folder.control_socket, command, **arguments))
    except (control.NotRunning, control.Refused) as error:
        fail(str(error))
