"""All processes of the stack together."""

import asyncio
from collections.abc import Callable, Iterable
from itertools import groupby

from services.stack.processes import Condition, Process, Supervised

_POLL_SECONDS = 0.1


class UnknownProcess(Exception):
    """There is no process of that name."""


class Supervisor:
    """Keeps processes running. The death of one never ends another."""

    def __init__(self, processes: Iterable[Process], changed: Callable[[], None]) -> None:
        self._all: dict[str, Supervised] = {}
        for process in processes:
            needs = [self._all[need] for need in process.needs]
            self._all[process.name] = Supervised(process, needs, changed)

    def __getitem__(self, name: str) -> Supervised:
        """The process ``name``. Raises UnknownProcess, which names those that there are."""
        if name not in self._all:
            raise UnknownProcess(f"there is no process {name}; there are {', '.join(self._all)}")
        return self._all[name]

    @property
    def all(self) -> list[Supervised]:
        """Every process, in the order in which they were given."""
        return list(self._all.values())

    @property
    def are_ready(self) -> bool:
        """Whether every process is ready."""
        return all(each.condition is Condition.READY for each in self.all)

    async def wait_until_ready(self) -> None:
        """Wait until every process has been ready."""
        for each in self.all:
            await each.is_ready.wait()

    async def wait_until_whole(self) -> None:
        """Wait until every process is ready and lacks nothing."""
        while any(each.condition is not Condition.READY or each.problem for each in self.all):  # noqa: ASYNC110 - as health
            await asyncio.sleep(_POLL_SECONDS)

    def start(self) -> None:
        """Start each as soon as what it needs is ready."""
        for each in self.all:
            each.start()

    async def stop(self) -> None:
        """Stop them wave by wave."""
        waves = sorted(self.all, key=_stop_wave)
        for _, wave in groupby(waves, key=_stop_wave):
            await asyncio.gather(*(each.stop() for each in wave))


def _stop_wave(each: Supervised) -> int:
    return each.process.stop_wave
