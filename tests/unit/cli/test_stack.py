import asyncio
import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from services.cli import app
from services.stack import control
from services.stack.state import Memory, State
from services.stack.supervisor import UnknownProcess


def levimesh(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--state", str(folder)], env={"COLUMNS": "120"})


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A state folder in which nothing runs."""
    return State.at(tmp_path / "state")


@contextmanager
def supervised(state: State, *, ready: bool) -> Iterator[None]:
    """A supervisor of one process, as far as its control socket and its lock go, until it is told to stop."""
    up, stop = threading.Event(), asyncio.Event()
    auth = {
        "name": "auth",
        "condition": "ready",
        "pid": 1,
        "memory": 0,
        "restarts": 0,
        "problem": "",
        "hopeless": False,
    }
    said = {"ready": ready, "source": "simex", "uptime": 1.0, "processes": [auth], "progress": []}

    async def status() -> dict[str, Any]:
        return said

    async def restart(name: str) -> dict[str, Any]:
        if name != "auth":
            raise UnknownProcess(f"there is no process {name}; there are auth")
        return {}

    async def down() -> dict[str, Any]:
        stop.set()
        return {}

    async def serve() -> None:
        handlers: dict[str, control.Handler] = {"status": status, "restart": restart, "down": down}
        with state.lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            async with control.serving(state.control_socket, handlers, (UnknownProcess,)):
                up.set()
                await stop.wait()

    state.make()
    state.make_sockets()
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert up.wait(5)
        yield
        levimesh(state.path, "down")
    finally:
        thread.join(5)


def test_a_start_with_a_source_that_is_none_is_refused_and_leaves_nothing_behind(state: State) -> None:
    done = levimesh(state.path, "up", "--detach", "--source", "yahoo")

    assert done.exit_code == 1
    assert "use simex, replay:FOLDER or ccxt:EXCHANGE" in done.stderr
    assert not state.path.exists()


def test_a_setting_that_is_no_port_is_named(state: State) -> None:
    done = CliRunner().invoke(app, ["status"], env={"LEVIMESH_GATEWAY_PORT": "x", "LEVIMESH_STATE": str(state.path)})

    assert done.exit_code == 1
    assert "LEVIMESH_GATEWAY_PORT" in done.stderr


@pytest.mark.parametrize("command", [["status"], ["restart", "auth"]])
def test_without_a_mesh_it_is_said_how_to_start_one(state: State, command: list[str]) -> None:
    done = levimesh(state.path, *command)

    assert done.exit_code == 1
    assert "levimesh up" in done.stderr


def test_stopping_what_does_not_run_is_no_error(state: State) -> None:
    done = levimesh(state.path, "down")

    assert (done.exit_code, done.stdout.strip()) == (0, "Nothing runs here.")


@pytest.mark.parametrize("ready", [True, False])
def test_the_status_of_a_mesh_tells_by_its_exit_code_whether_it_is_ready(state: State, *, ready: bool) -> None:
    with supervised(state, ready=ready):
        done = levimesh(state.path, "status")

    assert "auth" in done.stdout
    assert done.exit_code == (0 if ready else 1)


def test_restarting_names_the_processes_when_there_is_none_of_that_name(state: State) -> None:
    with supervised(state, ready=True):
        assert levimesh(state.path, "restart", "auth").stdout.strip() == "auth is ready again."
        refused = levimesh(state.path, "restart", "nobody")

    assert refused.exit_code == 1
    assert "there is no process nobody; there are auth" in refused.stderr


def test_a_running_mesh_is_not_given_another_source(state: State) -> None:
    Memory("simex").save(state)
    with supervised(state, ready=True):
        done = levimesh(state.path, "up", "--detach", "--speed", "5")

    assert done.exit_code == 1
    assert "stop it first with: levimesh down" in done.stderr


def test_down_stops_the_mesh_and_returns_when_it_is_gone(state: State) -> None:
    with supervised(state, ready=True):
        done = levimesh(state.path, "down")

        assert (done.exit_code, done.stdout.strip().splitlines()[-1]) == (0, "Stopped.")
        assert levimesh(state.path, "status").exit_code == 1


def test_logs_are_those_of_one_process_or_of_all_with_their_names(state: State) -> None:
    state.logs.mkdir(parents=True)
    (state.logs / "auth.log").write_text("one\ntwo\n")
    (state.logs / "trading.log").write_text("three\n")

    assert levimesh(state.path, "logs", "auth", "--lines", "1").stdout == "two\n"
    assert [line.split() for line in levimesh(state.path, "logs").stdout.splitlines()] == [
        ["auth", "one"],
        ["auth", "two"],
        ["trading", "three"],
    ]


def test_the_log_of_an_unknown_process_is_refused_with_those_that_there_are(state: State) -> None:
    state.logs.mkdir(parents=True)
    (state.logs / "auth.log").touch()

    done = levimesh(state.path, "logs", "nobody")

    assert done.exit_code == 1
    assert "there is no log of nobody; there are auth" in done.stderr


def test_a_state_folder_that_is_none_is_refused_in_words(state: State) -> None:
    state.make()
    (state.path / "mesh.json").write_text("{")
    started = levimesh(state.path, "up", "--detach")
    stopped = levimesh(state.path / "mesh.json", "down")

    assert started.exit_code == 1
    assert f"{state.path / 'mesh.json'} cannot be read" in started.stderr.replace("\n", "")
    assert stopped.exit_code == 0
    assert "Nothing runs here" in stopped.stdout
