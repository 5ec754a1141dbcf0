import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from services.stack import orphans
from services.stack.orphans import Running

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that does not end at SIGTERM."""
    command = [sys.executable, "-c", STUBBORN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as started:  # noqa: S603 - our own
        assert started.stdout is not None
        started.stdout.readline()
        yield started
        started.kill()


def note(process: "subprocess.Popen[bytes]") -> Running:
    found = Running.now("process", process.pid)
    assert found is not None
    return found


def test_what_runs_is_found_again_from_the_file(tmp_path: Path, process: "subprocess.Popen[bytes]") -> None:
    orphans.write(tmp_path / "stack.json", [note(process)], ports={"gateway": 8443})

    assert orphans.read(tmp_path / "stack.json") == [note(process)]


def test_what_has_ended_is_not_found(tmp_path: Path, process: "subprocess.Popen[bytes]") -> None:
    orphans.write(tmp_path / "stack.json", [note(process)])
    process.kill()
    process.wait()

    assert orphans.read(tmp_path / "stack.json") == []


def test_a_pid_that_belongs_to_somebody_else_by_now_is_left_alone(process: "subprocess.Popen[bytes]") -> None:
    stale = replace(note(process), started=note(process).started - 60)

    orphans.end([stale], seconds=0.1)

    assert process.poll() is None


def test_an_orphan_that_does_not_end_in_time_is_killed(process: "subprocess.Popen[bytes]") -> None:
    orphans.end([note(process)], seconds=0.2)

    assert not psutil.pid_exists(process.pid)


def test_without_a_file_nothing_runs(tmp_path: Path) -> None:
    assert orphans.read(tmp_path / "stack.json") == []
