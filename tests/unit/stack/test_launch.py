import asyncio
import fcntl
import socket
import subprocess
import sys
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
    names += ["gateway_port", "gateway_plain_port", "simex_port", "postgres_port", "redis_port"]
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
