"""An audit log that only remembers, for servers whose records are not stored."""

import asyncio
from typing import Any

from levimesh.auth.v1 import audit_pb2
from services.runtime.audit import AuditLog


class RememberedAudit(AuditLog):
    """Remembers what is recorded; ``works`` says whether it can."""

    def __init__(self) -> None:
        self.events: list[audit_pb2.AuditEvent] = []
        self.works = True
        self.added = asyncio.Event()
        self._held: asyncio.Future[bool] | None = None

    def add(self, event: audit_pb2.AuditEvent) -> "asyncio.Future[bool]":
        self.events.append(event)
        self.added.set()
        if self._held is not None:
            return self._held
        stored = asyncio.get_running_loop().create_future()
        stored.set_result(self.works)
        return stored

    def hold(self) -> "asyncio.Future[bool]":
        """What is added from now on is stored, or not, when the result of this is set."""
        self._held = asyncio.get_running_loop().create_future()
        return self._held

    async def add_within(self, connection: Any, event: audit_pb2.AuditEvent) -> None:
        self.events.append(event)

    async def ready(self) -> bool:
        return self.works
