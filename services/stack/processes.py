"""One process of the stack: started when what it needs is ready, watched, and started again when it dies."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from services.stack.logs import open_log
from services.stack.postgres import RunAs

_log = logging.getLogger(__name__)

_POLL_STARTING, _POLL_READY = 0.1, 1.0
_CHECK_SECONDS = 10.0
_STABLE_SECONDS = 30.0
_LONGEST_DELAY = 8.0


class Condition(StrEnum):
    """What a process is doing."""

    WAITING = "waiting"
    """For another one to be ready."""
    STARTING = "starting"
    READY = "ready"
    NOT_READY = "not ready"
    """It was ready and runs, but says that it is not ready now."""
    RESTARTING = "restarting"
    """It died, and is started again after a pause."""
    STOPPING = "stopping"
    STOPPED = "stopped"


async def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Process:
    """How a process is run."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    """All that it gets; nothing is inherited."""
    log: Path
    """Where its standard output and error go."""
    ready: Callable[[], Awaitable[str | None]]
    """Raises unless the process is ready; returns what it lacks nevertheless. The words are told to the user."""
    needs: tuple[str, ...] = ()
    """Processes that have to be ready before this one is started."""
    prepare: Callable[[], Awaitable[None]] = _nothing
    """Done before each start."""
    before_stop: Callable[[], Awaitable[None]] = _nothing
    """Done before the signal, for what does not drain by itself."""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15.0
    """How long it may take to end before it is killed."""
    stop_wave: int = 0
    """The whole stack is stopped in waves, the lowest first."""
    niceness: int = 0
    """How much it gives way to the others when there is more to do than the machine can."""
    cores: frozenset[int] | None = None
    """Those that it may compute on; all of the supervisor's without it."""
    run_as: RunAs = field(default_factory=lambda: RunAs(user=None, group=None, extra_groups=None))


class Backoff:
    """How long to wait before a process that died is started again: not at all at first, then ever longer."""

    def __init__(self) -> None:
        self._deaths = 0

    def delay(self, lived: float) -> float:
        """Seconds to wait after a process that ``lived`` so many seconds; one that lived long starts from zero."""
        if lived >= _STABLE_SECONDS:
            self._deaths = 0
        self._deaths += 1
        return 0.0 if self._deaths == 1 else min(_LONGEST_DELAY, 0.25 * 2.0 ** (self._deaths - 1))


class Supervised:
    """A process that is kept running."""

    def __init__(self, process: Process, needs: Sequence["Supervised"], changed: Callable[[], None]) -> None:
        self.process = process
        self.condition = Condition.STOPPED
        self.problem = ""
        """Why it is not ready, or what it lacks though it is, in words."""
        self.restarts = 0
        self.failures = 0
        """How many times in a row it died, or could not be started, without having been ready."""
        self.pid: int | None = None
        self.is_ready = asyncio.Event()
        self._needs = needs
        self._changed = changed
        self._child: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._told_to_end = False
        self._ending = False
        self._backoff = Backoff()

    def start(self) -> None:
        """Keep the process running from now on."""
        self._task = asyncio.get_running_loop().create_task(self._keep_running(), name=self.process.name)

    async def stop(self) -> None:
        """End the process for good."""
        self._ending = True
        await self._end_child()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._become(Condition.STOPPED)

    async def restart(self) -> None:
        """End the process in good order and wait until its successor is ready."""
        await self._end_child()
        await self.is_ready.wait()

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wait_for_needs()
            born = loop.time()
            try:
                await self._run_once()
            except Exception as error:  # noqa: BLE001 - a start that fails is tried again, whatever the reason
                _log.exception("a process cannot be started", extra={"workload": self.process.name})
                self.problem = str(error)
            if self._ending:
                return
            delay = 0.0 if self._told_to_end else self._backoff.delay(loop.time() - born)
            self._told_to_end = False
            self._become(Condition.RESTARTING)
            await asyncio.sleep(delay)
            self.restarts += 1

    async def _wait_for_needs(self) -> None:
        for need in self._needs:
            if not need.is_ready.is_set():
                self._become(Condition.WAITING, f"waits for {need.process.name}")
                await need.is_ready.wait()

    async def _run_once(self) -> None:
        """From the start of the process to its end, which raises nothing."""
        self._become(Condition.STARTING)
        self.failures += 1
        await self.process.prepare()
        child = self._child = await self._spawn()
        self.pid = child.pid
        self._changed()
        _log.info("started", extra={"workload": self.process.name, "pid": child.pid})
        watcher = asyncio.create_task(self._watch())
        try:
            code = await child.wait()
        finally:
            watcher.cancel()
            # Whatever it has started itself, or, when this task is cancelled, the process too.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            self._child = self.pid = None
            self.is_ready.clear()
        if not self._told_to_end:
            self.problem = f"ended with {_reason(code)}"
            _log.warning("a process died", extra={"workload": self.process.name, "reason": _reason(code)})

    async def _spawn(self) -> asyncio.subprocess.Process:
        with open_log(self.process.log) as output:
            child = await asyncio.create_subprocess_exec(
                *self.process.command,
                env=dict(self.process.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                # A session of its own: Ctrl-C in the terminal is for the supervisor alone.
                start_new_session=True,
                **self.process.run_as,
            )
        with suppress(ProcessLookupError):
            self._limit(child.pid)
        return child

    def _limit(self, pid: int) -> None:
        """Done before it has threads, which inherit it."""
        if self.process.niceness:
            os.setpriority(os.PRIO_PROCESS, pid, min(19, os.nice(0) + self.process.niceness))
        if self.process.cores is not None:
            os.sched_setaffinity(pid, self.process.cores)

    async def _watch(self) -> None:
        """Follow the readiness of the running process, until it is told to end."""
        while not self._told_to_end:
            try:
                async with asyncio.timeout(_CHECK_SECONDS):
                    lacking = await self.process.ready()
            except Exception as error:  # noqa: BLE001 - whatever a check raises means: not ready
                self.is_ready.clear()
                if self.condition is Condition.READY:
                    self._become(Condition.NOT_READY)
                self.problem = f"{error or type(error).__name__}"
            else:
                if not self._told_to_end:
                    self.failures = 0
                    self.is_ready.set()
                    self._become(Condition.READY, lacking or "")
            await asyncio.sleep(_POLL_READY if self.is_ready.is_set() else _POLL_STARTING)

    async def _end_child(self) -> None:
        child = self._child
        if child is None or child.returncode is not None:
            self.is_ready.clear()  # of one that is dead already it may not have been noticed yet
            return
        self._told_to_end = True
        self._become(Condition.STOPPING)
        self.is_ready.clear()
        try:
            await self.process.before_stop()
        except Exception as error:  # noqa: BLE001 - it is ended anyway
            _log.warning("cannot drain", extra={"workload": self.process.name, "error": str(error)})
        with suppress(ProcessLookupError):
            child.send_signal(self.process.stop_signal)
        try:
            async with asyncio.timeout(self.process.stop_seconds):
                await child.wait()
        except TimeoutError:
            _log.warning("does not end and is killed", extra={"workload": self.process.name})
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    def _become(self, condition: Condition, problem: str = "") -> None:
        if condition is not self.condition:
            _log.info("condition", extra={"workload": self.process.name, "condition": condition.value})
        if condition is not Condition.RESTARTING:
            self.problem = problem
        self.condition = condition


def _reason(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
