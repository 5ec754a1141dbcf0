"""An audit log that only remembers, for servers whose records are not what a test is about."""

import asyncio
from typing import Any

from levimesh.auth.v1 import audit_pb2
from services.runtime.audit import AuditLog


class RememberedAudit(AuditLog):
    """Remembers what is recorded; ``works`` says whether it can."""

    def __init__(self) -> None:
        self.events: list[audit_pb2.AuditEvent] = []
        self.works = True

    def add(self, event: audit_pb2.AuditEvent) -> "asyncio.Future[bool]":
        self.events.append(event)
        stored = asyncio.get_running_loop().create_future()
        stored.set_result(self.works)
        return stored

    async def add_within(self, connection: Any, event: audit_pb2.AuditEvent) -> None:
        self.events.append(event)

    async def ready(self) -> bool:
        return self.works
