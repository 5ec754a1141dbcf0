import asyncio
import json
from pathlib import Path

import pytest

from services.stack.logs import follow, last_error, last_lines, open_log, rotate


def a_line(level: str, message: str, **more: str) -> str:
    return json.dumps({"level": level, "message": message, **more})


def test_the_reason_of_trouble_is_the_newest_warning_or_error(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    lines = [a_line("ERROR", "older"), a_line("WARNING", "health part failed", part="feed", problem="no network")]
    log.write_text("\n".join([*lines, a_line("INFO", "serving"), ""]))

    assert last_error(log) == "health part failed: feed: no network"


def test_the_reason_of_a_process_that_ended_with_a_traceback_is_its_end(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_text(a_line("INFO", "starting") + "\nTraceback (most recent call last):\n  File\nValueError: port\n")

    assert last_error(log).endswith("ValueError: port")


@pytest.mark.parametrize("content", [None, "", a_line("INFO", "serving")])
def test_a_log_without_trouble_gives_no_reason(tmp_path: Path, content: str | None) -> None:
    log = tmp_path / "service.log"
    if content is not None:
        log.write_text(content)

    assert last_error(log) == ""


def test_a_large_log_is_moved_aside_while_its_process_writes_on(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    with open_log(log) as file:
        file.write(b"before\n")
        file.flush()
        rotate(log, largest=5)
        file.write(b"after\n")

    assert log.read_text() == "after\n"
    assert (tmp_path / "service.log.1").read_text() == "before\n"


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_text("few\n")

    rotate(log, largest=5)

    assert list(tmp_path.iterdir()) == [log]


def test_a_log_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    open_log(tmp_path / "logs" / "service.log").close()

    assert (tmp_path / "logs" / "service.log").stat().st_mode & 0o777 == 0o600


def test_the_last_lines_are_the_last(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_text("one\ntwo\nthree\n")

    assert last_lines(log, 2) == ["two", "three"]


async def test_following_gives_whole_lines_as_they_come_even_after_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_text("old\n")
    lines = follow([log])
    first = asyncio.ensure_future(anext(lines))
    await asyncio.sleep(0)

    with log.open("a") as file:
        file.write("new\nha")
    assert await asyncio.wait_for(first, 5) == (log, "new")

    log.write_text("a\n")
    assert await asyncio.wait_for(anext(lines), 5) == (log, "a")
    await lines.aclose()
