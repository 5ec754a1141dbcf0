"""A running mesh: its processes, and what is done around them from the first start to the last stop."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any

import psutil

from levimesh.client.profile import embedded
from services.runtime.workload import WorkloadFiles
from services.stack import orphans
from services.stack.bootstrap import create_admin, start_strategy
from services.stack.certificates import Authority
from services.stack.firsts import Firsts
from services.stack.logs import rotate
from services.stack.orphans import Running
from services.stack.processes import Supervised
from services.stack.progress import Progress
from services.stack.settings import StackSettings
from services.stack.state import Memory, Secrets, State
from services.stack.supervisor import Supervisor
from services.stack.topology import processes, workload_files

_log = logging.getLogger(__name__)

_CHORES_SECONDS = 60.0
_CERTIFICATES_SECONDS = 2.0
_WHOLE_SECONDS = 15.0
_HOPELESS_FAILURES = 4


class Mesh:
    """What the supervisor process runs."""

    def __init__(self, settings: StackSettings, state: State, memory: Memory) -> None:
        self._settings = settings
        self._state = state
        self._memory = memory
        self._firsts = Firsts(state, memory)
        self._started = time.time()
        self._seconds_to_ready = 0.0
        self._stopping = False
        self._authority = Authority.open(
            state.certificates,
            state.authority_key,
            life=settings.certificate_life,
            overlap=settings.authority_overlap,
        )
        self._files: WorkloadFiles = workload_files(state, "stack")
        self._progress = Progress(settings.target("marketdata"), settings.target("prediction"), self._files)
        self._supervisor = Supervisor(processes(settings, state, Secrets.of(state), memory), self._write_down)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything runs; at the end it is stopped in order."""
        self._authority.renew()
        self._supervisor.start()
        duties = (self._settle(), self._progress.follow(), self._keep_certificates(), self._do_chores())
        work = [asyncio.create_task(each) for each in duties]
        try:
            yield
        finally:
            self._stopping = True
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await self._supervisor.stop()
            self._state.processes.unlink(missing_ok=True)

    async def status(self) -> dict[str, Any]:
        """Everything that is shown of a mesh, ready for JSON."""
        return {
            "ready": self._seconds_to_ready > 0 and self._supervisor.are_ready,
            "seconds_to_ready": self._seconds_to_ready,
            "stopping": self._stopping,
            "source": self._memory.source,
            "speed": self._memory.speed,
            "uptime": time.time() - self._started,
            "gateway": f"https://localhost:{self._settings.gateway_port}",
            "plain": f"http://localhost:{self._settings.gateway_plain_port}",
            "processes": [_describe(each) for each in self._supervisor.all],
            "step": asdict(self._firsts.now) if self._firsts.now else None,
            "progress": [asdict(step) for step in self._progress.steps],
        }

    async def restart(self, name: str) -> dict[str, Any]:
        """Restart one process in good order, and wait until it is ready. Raises UnknownProcess."""
        await self._supervisor[name].restart()
        return {}

    async def _settle(self) -> None:
        """Do what is done once, as soon as it can be."""
        await self._firsts.once("admin", self._create_admin, self._supervisor["auth"].is_ready)
        await self._firsts.once("history", self._fill)
        everything = [each.is_ready for each in self._supervisor.all]
        await self._firsts.once("strategy", self._start_strategy, *everything)
        await self._supervisor.wait_until_ready()
        # What a service can do without for a while, such as its feed, follows within seconds if its source is there.
        with suppress(TimeoutError):
            async with asyncio.timeout(_WHOLE_SECONDS):
                await self._supervisor.wait_until_whole()
        self._seconds_to_ready = time.time() - self._started
        _log.info("the mesh is ready", extra={"seconds": round(self._seconds_to_ready, 1)})

    async def _create_admin(self) -> None:
        await create_admin(self._state, self._settings.target("auth"), self._files)

    async def _fill(self) -> None:
        """Only at the first start: later ones are ready while history catches up."""
        await self._progress.settled.wait()

    async def _start_strategy(self) -> None:
        await start_strategy(embedded(self._state.path))

    async def _keep_certificates(self) -> None:
        """Keep the certificates young, and let a new authority take over when its time has come."""
        while True:
            await asyncio.sleep(_CERTIFICATES_SECONDS)
            try:
                if renewed := await asyncio.to_thread(self._authority.renew):
                    _log.info("certificates renewed", extra={"workloads": renewed})
            except (OSError, ValueError):
                _log.exception("certificates cannot be renewed")

    async def _do_chores(self) -> None:
        """Keep the logs small."""
        while True:
            await asyncio.sleep(_CHORES_SECONDS)
            try:
                for path in self._state.logs.glob("*.log"):
                    rotate(path)
            except OSError:
                _log.exception("a chore failed")

    def _write_down(self) -> None:
        running = [
            Running.now(each.process.name, each.pid, each.process.stop_signal, each.process.stop_wave)
            for each in self._supervisor.all
            if each.pid is not None
        ]
        ports = {"gateway": self._settings.gateway_port, "gateway_plain": self._settings.gateway_plain_port}
        orphans.write(self._state.processes, [each for each in running if each is not None], ports=ports)


def _describe(each: Supervised) -> dict[str, Any]:
    return {
        "name": each.process.name,
        "condition": each.condition.value,
        "pid": each.pid,
        "memory": _memory(each.pid) if each.pid is not None else 0,
        "restarts": each.restarts,
        "problem": each.problem,
        "hopeless": each.failures >= _HOPELESS_FAILURES,
        "log": str(each.process.log),
    }


def _memory(pid: int) -> int:
    """Bytes of a process and all that it started; what they share is counted once."""
    try:
        process = psutil.Process(pid)
        return sum(_share(each) for each in [process, *process.children(recursive=True)])
    except psutil.Error:
        return 0


def _share(process: psutil.Process) -> int:
    try:
        used = process.memory_full_info()
        return int(getattr(used, "pss", used.uss))
    except psutil.Error:
        return 0
