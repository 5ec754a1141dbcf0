import asyncio
import fcntl
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.stack import control, launch
from services.stack.ports import PortTaken, find_free
from services.stack.settings import SERVICES, StackSettings
from services.stack.sources import SourceError
from services.stack.state import Memory, State


def settings_on_free_ports(folder: Path) -> StackSettings:
    names = [f"{service}_port" for service in SERVICES]
    names += ["auth_edge_port", "gateway_port", "gateway_plain_port", "simex_port", "postgres_port", "redis_port"]
    ports = dict(zip(names, find_free(len(names), first=24_000), strict=True))
    return StackSettings(state=folder, **ports)  # type: ignore[arg-type] # ports only


def test_a_start_that_is_refused_for_a_busy_port_leaves_nothing_behind(tmp_path: Path) -> None:
    settings, state = settings_on_free_ports(tmp_path), State.at(tmp_path / "state")
    busy = ("127.0.0.1", settings.gateway_port)

    with (
        socket.create_server(busy),
        pytest.raises(PortTaken, match=f"port {settings.gateway_port}: set LEVIMESH_GATEWAY_PORT to another one"),
    ):
        launch.check(settings, state, None, None)

    assert not state.path.exists()


def test_the_first_start_decides_where_data_comes_from(tmp_path: Path) -> None:
    settings, state = settings_on_free_ports(tmp_path), State.at(tmp_path / "state")

    assert launch.check(settings, state, None, None) == Memory("simex", 1.0)


def test_a_later_start_goes_on_with_source_and_speed_of_the_first(tmp_path: Path) -> None:
    settings, state = settings_on_free_ports(tmp_path), State.at(tmp_path / "state")
    Memory("simex", 60.0, ["admin"]).save(state)

    assert launch.check(settings, state, None, None) == Memory("simex", 60.0, ["admin"])
    assert launch.check(settings, state, "simex", 5.0) == Memory("simex", 5.0, ["admin"])


def test_a_state_folder_refuses_another_source_than_its_own(tmp_path: Path) -> None:
    settings, state = settings_on_free_ports(tmp_path), State.at(tmp_path / "state")
    Memory("simex").save(state)
    (tmp_path / "candles.parquet").touch()

    with pytest.raises(SourceError, match=r"came from simex, and markets must not be mixed.*--state"):
        launch.check(settings, state, f"replay:{tmp_path}", None)


def test_an_exchange_that_cannot_be_used_any_more_does_not_keep_its_data_from_being_served(tmp_path: Path) -> None:
    settings, state = settings_on_free_ports(tmp_path), State.at(tmp_path / "state")
    Memory("ccxt:gone").save(state)
    with pytest.raises(SourceError):
        launch.check(settings, state, None, None)

    Memory("ccxt:gone", done=["history"]).save(state)

    assert launch.check(settings, state, None, None).source == "ccxt:gone"


async def test_where_nothing_runs_there_is_nothing_to_stop(tmp_path: Path) -> None:
    state = State.at(tmp_path / "state")

    assert not launch.is_running(state)
    assert not await launch.down(state)


def an_ended_process() -> "subprocess.Popen[bytes]":
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process


@pytest.mark.parametrize("started", [True, False])
async def test_a_start_that_fails_ends_no_mesh_that_somebody_else_has_started(tmp_path: Path, *, started: bool) -> None:
    state = State.at(tmp_path / "state")
    state.make()
    state.make_sockets()
    told: list[str] = []

    async def down() -> dict[str, Any]:
        told.append("down")
        return {}

    with state.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with control.serving(state.control_socket, {"down": down}, ()):
            await asyncio.wait_for(launch.abandon(state, an_ended_process() if started else None), 10)

    assert told == []


@asynccontextmanager
async def a_supervisor(state: State, **status: Any) -> AsyncIterator[None]:
    """One that says this of its mesh."""
    state.make()
    state.make_sockets()
    said = {"ready": False, "processes": [], "step": None, "progress": [], **status}

    async def answer() -> dict[str, Any]:
        return said

    async with control.serving(state.control_socket, {"status": answer}, ()):
        yield


def a_process(name: str, condition: str, problem: str, log: Path) -> dict[str, Any]:
    return {"name": name, "condition": condition, "problem": problem, "hopeless": False, "log": str(log)}


async def explanation(state: State) -> str:
    with pytest.raises(launch.StartFailed) as failed:
        async with asyncio.timeout(10):
            await launch.wait_until_ready(state, None, lambda _: None, 0.2)
    return str(failed.value)


async def test_a_start_that_fails_says_which_step_does_not_succeed_and_why(tmp_path: Path) -> None:
    state, step = State.at(tmp_path), {"what": "starting the strategy", "problem": "no such strategy [NOT_FOUND]"}
    ready = a_process("auth", "ready", "", tmp_path / "auth.log")
    async with a_supervisor(state, processes=[ready], step=step):
        said = await explanation(state)

    assert "starting the strategy does not succeed: no such strategy [NOT_FOUND]" in said
    assert str(state.logs / "stack.log") in said
    assert "auth" not in said, "nothing is wrong with that"
    assert "`levimesh up` goes on" in said


async def test_a_start_that_fails_shows_the_last_error_of_a_process(tmp_path: Path) -> None:
    log = tmp_path / "auth.log"
    log.write_text('{"level": "ERROR", "message": "AUTH_PORT is not a number"}\n')
    state, process = State.at(tmp_path), a_process("auth", "restarting", "ended with exit code 1", log)
    async with a_supervisor(state, processes=[process]):
        said = await explanation(state)

    assert f"auth (restarting): ended with exit code 1\n    AUTH_PORT is not a number\n    its log: {log}" in said


async def test_a_start_that_fails_shows_how_far_history_and_model_are(tmp_path: Path) -> None:
    state, step = State.at(tmp_path), {"what": "filling the history", "problem": ""}
    progress = [
        {"what": "history BTC 1m", "fraction": 0.4, "note": "400 candles"},
        {"what": "history ETH 1m", "fraction": 1.0, "note": "1,000 candles"},
    ]
    async with a_supervisor(state, processes=[a_process("auth", "ready", "", tmp_path)], step=step, progress=progress):
        said = await explanation(state)

    assert "filling the history is not done yet\n    history BTC 1m: 40%, 400 candles" in said
    assert "ETH" not in said


async def test_a_supervisor_that_says_nothing_is_named_with_its_log(tmp_path: Path) -> None:
    state = State.at(tmp_path)
    state.logs.mkdir()
    (state.logs / "stack.log").write_text("OSError: the disk is full\n")

    said = await explanation(state)

    assert "its supervisor does not answer\n    OSError: the disk is full" in said
