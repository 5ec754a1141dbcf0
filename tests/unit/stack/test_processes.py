import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from services.stack.processes import Backoff, Condition, Process, Supervised
from services.stack.supervisor import Supervisor, UnknownProcess

SECONDS = 10.0
SLEEP = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).wait()"


async def at_once() -> None:
    pass


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - what becomes of a process is seen only by looking
            await asyncio.sleep(0.01)


async def until_at_once(condition: Callable[[], object]) -> None:
    """As soon as it is so, before anybody else may notice."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0)


def python(folder: Path, name: str, program: str = SLEEP, **options: object) -> Process:
    """A process that runs ``program``; it is ready at once unless ``options`` say otherwise."""
    given: dict[str, object] = {"environment": {}, "ready": at_once, **options}
    return Process(name=name, command=[sys.executable, "-c", program], log=folder / f"{name}.log", **given)  # type: ignore[arg-type] # whatever a test wants to set


@asynccontextmanager
async def running(*processes: Process) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(processes, lambda: None)
    supervisor.start()
    try:
        yield supervisor
    finally:
        await supervisor.stop()


async def ready(each: Supervised) -> int:
    async with asyncio.timeout(SECONDS):
        await each.is_ready.wait()
    assert each.pid is not None
    return each.pid


def failing_until(event: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        if not event.is_set():
            raise RuntimeError("not yet")

    return check


async def test_a_process_is_started_when_what_it_needs_is_ready(tmp_path: Path) -> None:
    healthy = asyncio.Event()
    first = python(tmp_path, "first", ready=failing_until(healthy))
    async with running(first, python(tmp_path, "second", needs=("first",))) as stack:
        await until(lambda: stack["first"].problem == "not yet")
        assert stack["second"].condition is Condition.WAITING
        assert stack["second"].problem == "waits for first"

        healthy.set()

        await ready(stack["second"])
        assert stack.are_ready


async def test_a_killed_process_is_started_again_and_no_other_one_is_touched(tmp_path: Path) -> None:
    async with running(python(tmp_path, "victim"), python(tmp_path, "neighbour", needs=("victim",))) as stack:
        victim, neighbour = await ready(stack["victim"]), await ready(stack["neighbour"])

        os.kill(victim, signal.SIGKILL)

        await until(lambda: stack["victim"].pid not in {victim, None} and stack.are_ready)
        assert stack["victim"].restarts == 1
        assert stack["neighbour"].pid == neighbour


async def test_what_a_killed_process_has_started_ends_with_it(tmp_path: Path) -> None:
    async with running(python(tmp_path, "parent", PARENT)) as stack:
        parent = psutil.Process(await ready(stack["parent"]))
        await until(parent.children)
        (child,) = parent.children()

        parent.kill()

        await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


async def test_a_process_that_ends_again_and_again_says_why(tmp_path: Path) -> None:
    async def never() -> None:
        raise RuntimeError("no answer")

    async with running(python(tmp_path, "broken", "raise SystemExit(3)", ready=never)) as stack:
        await until(lambda: stack["broken"].failures >= 2)

        await until(lambda: stack["broken"].problem == "ended with exit code 3")


async def test_a_process_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    attempts = 0

    async def prepare() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise OSError("the disk is full")

    async with running(python(tmp_path, "process", prepare=prepare)) as stack:
        await ready(stack["process"])

    assert attempts == 2


async def test_a_running_process_that_is_no_longer_healthy_is_left_alone_and_reported(tmp_path: Path) -> None:
    healthy = asyncio.Event()
    healthy.set()
    async with running(python(tmp_path, "process", ready=failing_until(healthy))) as stack:
        pid = await ready(stack["process"])

        healthy.clear()

        await until(lambda: stack["process"].condition is Condition.NOT_READY)
        assert stack["process"].problem == "not yet"
        assert stack["process"].pid == pid


async def test_what_a_ready_process_lacks_is_told(tmp_path: Path) -> None:
    async def almost() -> str:
        return "serves without feed"

    async with running(python(tmp_path, "process", ready=almost)) as stack:
        await ready(stack["process"])

        assert stack.are_ready
        assert stack["process"].problem == "serves without feed"


async def test_a_restart_of_a_process_that_has_just_died_is_answered_when_its_successor_is_ready(
    tmp_path: Path,
) -> None:
    async with running(python(tmp_path, "victim")) as stack:
        victim = await ready(stack["victim"])
        child = stack["victim"]._child
        assert child is not None

        os.kill(victim, signal.SIGKILL)
        await until_at_once(lambda: child.returncode is not None)
        await stack["victim"].restart()

        assert stack["victim"].pid not in {victim, None}


async def test_a_restart_drains_and_gives_a_new_process_that_is_ready(tmp_path: Path) -> None:
    drained: list[bool] = []

    async def drain() -> None:
        drained.append(True)

    async with running(python(tmp_path, "process", before_stop=drain)) as stack:
        before = await ready(stack["process"])

        await stack["process"].restart()

        assert drained == [True]
        assert stack["process"].pid not in {before, None}


async def test_a_process_that_ignores_its_signal_is_killed_in_the_end(tmp_path: Path) -> None:
    process = python(tmp_path, "stubborn", STUBBORN, stop_seconds=0.2)
    async with running(process) as stack:
        pid = await ready(stack["stubborn"])
        await until(lambda: process.log.read_text() == "on\n")

    assert not psutil.pid_exists(pid)


async def test_processes_are_stopped_wave_by_wave(tmp_path: Path) -> None:
    order: list[str] = []

    def noting(name: str) -> Callable[[], Awaitable[None]]:
        async def before_stop() -> None:
            order.append(name)

        return before_stop

    server = python(tmp_path, "server", stop_wave=2, before_stop=noting("server"))
    client = python(tmp_path, "client", stop_wave=1, before_stop=noting("client"), needs=("server",))
    async with running(server, client) as stack:
        await ready(stack["client"])

    assert order == ["client", "server"]


async def test_a_process_inherits_nothing_from_our_environment(tmp_path: Path) -> None:
    program = "import os, time; print(sorted(set(os.environ) - {'LC_CTYPE'}), flush=True); time.sleep(60)"
    process = python(tmp_path, "process", program, environment={"GIVEN": "yes"})
    async with running(process) as stack:
        await ready(stack["process"])
        await until(lambda: process.log.read_text() == "['GIVEN']\n")


def test_a_name_that_no_process_has_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownProcess, match="there is no process nobody; there are first"):
        Supervisor([python(tmp_path, "first")], lambda: None)["nobody"]


def test_the_first_restart_is_immediate_and_further_ones_wait_ever_longer() -> None:
    backoff = Backoff()

    assert [backoff.delay(lived=1.0) for _ in range(8)] == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_a_process_that_lived_long_is_restarted_at_once_again() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.delay(lived=1.0)

    assert backoff.delay(lived=60.0) == 0.0
    assert backoff.delay(lived=1.0) == 0.5


async def test_a_process_gives_way_to_the_others_and_keeps_to_its_cores_as_it_is_told_to(tmp_path: Path) -> None:
    cores = frozenset({min(os.sched_getaffinity(0))})
    limited = python(tmp_path, "last", niceness=7, cores=cores)
    async with running(python(tmp_path, "first"), limited) as supervisor:
        pids = [await ready(supervisor[name]) for name in ("first", "last")]

        first, last = (os.getpriority(os.PRIO_PROCESS, pid) for pid in pids)
        of_first, of_last = (os.sched_getaffinity(pid) for pid in pids)

    assert (first, of_first) == (os.nice(0), os.sched_getaffinity(0))
    assert (last, of_last) == (min(19, first + 7), set(cores))
