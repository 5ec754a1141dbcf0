"""Who runs now, written down for whoever finds it after the supervisor itself was killed."""

import json
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from services.stack.files import write_private

_SAME_START_SECONDS = 2.0


@dataclass(frozen=True)
class Running:
    """A process that runs; its pid alone could name another one by the time that somebody reads this."""

    name: str
    pid: int
    started: float
    """When it started, in seconds since the epoch, as the system reports it."""
    stop_signal: int = signal.SIGTERM
    stop_wave: int = 0

    @classmethod
    def now(cls, name: str, pid: int, stop_signal: int = signal.SIGTERM, stop_wave: int = 0) -> "Running | None":
        """The process ``pid``; None when it is gone."""
        try:
            return cls(name, pid, psutil.Process(pid).create_time(), stop_signal, stop_wave)
        except psutil.NoSuchProcess:
            return None

    def find(self) -> psutil.Process | None:
        """The process itself, when it still runs."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) < _SAME_START_SECONDS:
                return process
        return None


def write(path: Path, running: Iterable[Running], **more: object) -> None:
    """Write ``running``, and whatever else a reader of the file likes to know."""
    write_private(path, json.dumps({"processes": [asdict(each) for each in running], **more}, indent=2).encode())


def read(path: Path) -> list[Running]:
    """Those of the processes in the file that still run."""
    if not path.exists():
        return []
    noted = [Running(**each) for each in json.loads(path.read_text())["processes"]]
    return [each for each in noted if each.find() is not None]


def end(running: Iterable[Running], seconds: float = 10.0) -> None:
    """End processes that nobody supervises any more, wave by wave; what does not end in time is killed."""
    waves: dict[int, list[Running]] = {}
    for each in running:
        waves.setdefault(each.stop_wave, []).append(each)
    for _, wave in sorted(waves.items()):
        found = [(process, each) for each in wave if (process := each.find()) is not None]
        for process, each in found:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(each.stop_signal)
        _, alive = psutil.wait_procs([process for process, _ in found], timeout=seconds)
        for process in alive:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=seconds)
