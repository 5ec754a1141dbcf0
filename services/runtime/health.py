"""Health made of named parts: a process serves only while all those hold that it cannot do without."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

_log = logging.getLogger(__name__)

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Part:
    """One thing that has to hold. It does not, until somebody says so."""

    def __init__(self, name: str, gates: bool, changed: Callable[[], None]) -> None:
        self.name = name
        self.gates = gates
        self.problem: str | None = "starting"
        self._changed = changed

    def ok(self) -> None:
        """It holds."""
        self._set(None)

    def failed(self, why: str) -> None:
        """It does not hold, because of ``why`` (words for the log, without secrets)."""
        self._set(why)

    def _set(self, problem: str | None) -> None:
        if problem == self.problem:
            return
        if problem is None:
            _log.info("health part holds", extra={"part": self.name})
        else:
            _log.warning("health part failed", extra={"part": self.name, "problem": problem})
        self.problem = problem
        self._changed()


class _Servicer(HealthServicer):
    """The library's servicer, and List, which its asyncio variant lacks."""

    def __init__(self, statuses: Callable[[], Mapping[str, int]]) -> None:
        super().__init__()
        self._statuses = statuses

    async def List(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - as the contract names them
        messages: Any = health_pb2  # whose type information is older than List
        said = {name: messages.HealthCheckResponse(status=status) for name, status in self._statuses().items()}
        return messages.HealthListResponse(statuses=said)


class Health:
    """Serves grpc.health.v1: "" and each service's name for the whole, and each part under its own name."""

    def __init__(self) -> None:
        self.servicer = _Servicer(self._statuses)
        self._parts: dict[str, Part] = {}
        self._services: list[str] = [""]
        self._publications: set[asyncio.Task[None]] = set()

    def part(self, name: str, *, gates: bool = True) -> Part:
        """Add a part; it starts as not holding. One that does not gate is shown, and the whole serves without it."""
        part = self._parts[name] = Part(name, gates, self._publish)
        self._publish()
        return part

    def serves(self, service: str) -> None:
        """Publish the whole under the full name of a gRPC service too."""
        self._services.append(service)
        self._publish()

    @property
    def serving(self) -> bool:
        """Whether every part holds that gates."""
        return all(part.problem is None for part in self._parts.values() if part.gates)

    @property
    def problems(self) -> dict[str, str]:
        """What does not hold, by part."""
        return {name: part.problem for name, part in self._parts.items() if part.problem is not None}

    def _publish(self) -> None:
        task = asyncio.get_running_loop().create_task(self._set_all())
        self._publications.add(task)
        task.add_done_callback(self._publications.discard)

    async def _set_all(self) -> None:
        for name, status in self._statuses().items():
            await self.servicer.set(name, status)

    def _statuses(self) -> Mapping[str, int]:
        whole = _SERVING if self.serving else _NOT_SERVING
        parts = {name: _NOT_SERVING if part.problem else _SERVING for name, part in self._parts.items()}
        return {**parts, **dict.fromkeys(self._services, whole)}


async def watch(part: Part, check: Callable[[], Awaitable[None]], every: float) -> None:
    """Run ``check`` every so many seconds for ever; the part holds while it does not raise."""
    while True:
        try:
            async with asyncio.timeout(max(every, 1.0)):
                await check()
        except Exception as error:  # noqa: BLE001 - whatever a check raises means that the part does not hold
            part.failed(f"{type(error).__name__}: {error}")
        else:
            part.ok()
        await asyncio.sleep(every)
