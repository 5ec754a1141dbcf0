import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from services.stack.control import NotRunning, Refused, ask, serving


class NoSuchThing(Exception):
    pass


def let_everybody_in(folder: Path) -> None:
    folder.chmod(0o777)


async def echo(**arguments: Any) -> dict[str, Any]:
    return {"said": arguments}


async def refuse() -> dict[str, Any]:
    raise NoSuchThing("there is none")


async def test_a_command_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path / "socket", {"echo": echo}, (NoSuchThing,)):
        assert await ask(tmp_path / "socket", "echo", name="auth") == {"said": {"name": "auth"}}


async def test_a_refusal_reaches_who_asked_and_the_server_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path / "socket", {"echo": echo, "refuse": refuse}, (NoSuchThing,)):
        with pytest.raises(Refused, match="there is none"):
            await ask(tmp_path / "socket", "refuse")

        assert await ask(tmp_path / "socket", "echo") == {"said": {}}


@pytest.mark.parametrize(
    "request_line",
    [b"no json\n", b"[]\n", b"{}\n", b'{"command": "nothing"}\n', b'{"command": "refuse", "name": 1}\n', b"x" * 70_000],
)
async def test_what_is_no_command_is_refused_with_those_that_there_are(tmp_path: Path, request_line: bytes) -> None:
    async with serving(tmp_path / "socket", {"refuse": refuse}, (NoSuchThing,)), asyncio.timeout(5):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "socket"))
        writer.write(request_line)
        answer = json.loads(await reader.readline())
        writer.close()

    assert answer == {"error": "not a command; there are refuse, each as a line of JSON"}


async def test_a_command_that_fails_is_answered_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> dict[str, Any]:
        raise ZeroDivisionError

    async with serving(tmp_path / "socket", {"fail": fail}, ()), asyncio.timeout(5):
        with pytest.raises(Refused, match=r"failed at it \(ZeroDivisionError\(\)\).*levimesh logs stack"):
            await ask(tmp_path / "socket", "fail")

    assert "a command failed" in caplog.text


async def test_nobody_is_asked_through_a_folder_that_others_may_write_to(tmp_path: Path) -> None:
    async with serving(tmp_path / "socket", {"echo": echo}, ()):
        let_everybody_in(tmp_path)
        with pytest.raises(NotRunning):
            await ask(tmp_path / "socket", "echo")


async def test_without_a_supervisor_it_is_said_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="levimesh up"):
        await ask(tmp_path / "socket", "echo")


async def test_of_a_supervisor_that_takes_too_long_it_is_not_said_that_none_runs(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def wait() -> dict[str, Any]:
        await release.wait()
        return {}

    async with serving(tmp_path / "socket", {"wait": wait}, ()):
        with pytest.raises(NotRunning, match="has not done it within"):
            await ask(tmp_path / "socket", "wait", seconds=0.05)
        release.set()


async def test_the_socket_that_a_killed_supervisor_left_is_no_supervisor(tmp_path: Path) -> None:
    async with serving(tmp_path / "socket", {"echo": echo}, ()):
        (tmp_path / "left").hardlink_to(tmp_path / "socket")

    with pytest.raises(NotRunning):
        await ask(tmp_path / "left", "echo")

    async with serving(tmp_path / "left", {"echo": echo}, ()):
        assert await ask(tmp_path / "left", "echo") == {"said": {}}
