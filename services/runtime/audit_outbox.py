"""The audit log of a service in PostgreSQL, and the way of its events from there to the chain that auth keeps.

Each service has the table ``audit_outbox`` in its schema, so that recording needs no other service.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import Any

from pydantic import SecretStr
from sqlalchemy import BigInteger, Column, Identity, LargeBinary, MetaData, Table, Uuid, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from levimesh.auth.v1 import audit_pb2
from services.runtime.audit import AuditLog
from services.runtime.database import open_database

_log = logging.getLogger(__name__)

Append = Callable[[Sequence[audit_pb2.AuditEvent]], Awaitable[object]]
"""Puts events into the chain; those that are there already are left out."""

_BATCH = 200
_ATTEMPT_SECONDS = 5.0


def outbox_table(schema: str) -> Table:
    """The table ``audit_outbox`` of a service, as its migrations make it."""
    return Table(
        "audit_outbox",
        MetaData(schema=schema),
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("event_id", Uuid(as_uuid=False), nullable=False, unique=True),
        Column("event", LargeBinary, nullable=False),
    )


class SqlAuditLog(AuditLog):
    """Stores events in the outbox: whatever is waiting at a time, together, by one writer.

    When that fails the events stay in memory, up to ``keep`` of them, and are tried again every ``retry_seconds``, and
    at once for whoever asks ``ready``. Beyond that, and at the end of the process, what cannot be stored goes into the
    log of the process, whole: it holds no secret.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        schema: str,
        *,
        patience: float = 2.0,
        retry_seconds: float = 1.0,
        keep: int = 10_000,
    ) -> None:
        self._engine = engine
        self._outbox = outbox_table(schema)
        self._relay_lock = func.hashtext(f"{schema} audit relay")
        self._insert = insert(self._outbox).on_conflict_do_nothing(index_elements=["event_id"])
        self._patience = patience
        self._retry_seconds = retry_seconds
        self._keep = keep
        self._waiting: deque[tuple[audit_pb2.AuditEvent, asyncio.Future[bool]]] = deque()
        self._news = asyncio.Event()
        self._attempts = asyncio.Condition()
        self._fails = False

    def add(self, event: audit_pb2.AuditEvent) -> "asyncio.Future[bool]":
        loop = asyncio.get_running_loop()
        stored = loop.create_future()
        if len(self._waiting) >= self._keep:
            _log.critical("too many audit events are waiting; this one is only here", extra=_in_full(event))
            stored.set_result(False)
            return stored
        self._waiting.append((event, stored))
        loop.call_later(self._patience, _settle, stored, False)
        self._news.set()
        return stored

    async def add_within(self, connection: AsyncConnection, event: audit_pb2.AuditEvent) -> None:
        await connection.execute(self._insert, [_row(event)])

    async def ready(self) -> bool:
        if not self._fails:
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience), self._attempts:
                self._news.set()
                await self._attempts.wait()
        return not self._fails

    async def write(self) -> None:
        """Store what is added, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting and await self._write_batch():
                pass
            if self._fails:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._retry_seconds):
                        await self._news.wait()
                self._news.set()

    async def flush(self) -> None:
        """Store what is left, or log it."""
        while self._waiting and await self._write_batch():
            pass
        for event, _ in self._waiting:
            _log.critical("an audit event could not be stored; it is only here", extra=_in_full(event))

    async def relay(self, append: Append, *, every: float = 0.5) -> None:
        """Send what is stored to the chain, for ever; raises when the database or the chain is away."""
        while True:
            if await self.relay_batch(append) < _BATCH:
                await asyncio.sleep(every)

    async def relay_batch(self, append: Append) -> int:
        """Send at most 200 events, the oldest first, and remove them once the chain has them. Returns how many.

        Whoever dies in between has them sent again, which the chain notices. One replica does it at a time.
        """
        outbox = self._outbox
        async with self._engine.begin() as connection:
            if not (await connection.execute(select(func.pg_try_advisory_xact_lock(self._relay_lock)))).scalar_one():
                return 0
            rows = (await connection.execute(select(outbox).order_by(outbox.c.id).limit(_BATCH))).all()
            if rows:
                await append([audit_pb2.AuditEvent.FromString(row.event) for row in rows])
                await connection.execute(delete(outbox).where(outbox.c.id.in_([row.id for row in rows])))
        return len(rows)

    async def _write_batch(self) -> bool:
        batch = list(islice(self._waiting, _BATCH))
        try:
            async with asyncio.timeout(_ATTEMPT_SECONDS), self._engine.begin() as connection:
                await connection.execute(self._insert, [_row(event) for event, _ in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, the events are kept and tried again
            self._report_failure(error)
        else:
            self._fails = False
            for _ in batch:
                self._waiting.popleft()
        for _, stored in batch:
            _settle(stored, not self._fails)
        async with self._attempts:
            self._attempts.notify_all()
        return not self._fails

    def _report_failure(self, error: Exception) -> None:
        if not self._fails:
            _log.error(
                "audit events cannot be stored; they wait in memory, and audited calls are refused",
                extra={"waiting": len(self._waiting), "problem": f"{type(error).__name__}: {error}"},
            )
        self._fails = True


@asynccontextmanager
async def open_audit_log(url: SecretStr, schema: str) -> AsyncIterator[SqlAuditLog]:
    """The audit log of the service whose tables are in ``schema``; at the end it stores what is left.

    It has connections of its own, so that calls which wait for one never keep it waiting.
    """
    async with open_database(url, pool_size=2) as engine:
        log = SqlAuditLog(engine, schema)
        writer = asyncio.get_running_loop().create_task(log.write(), name="audit log")
        try:
            yield log
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            await log.flush()


def _row(event: audit_pb2.AuditEvent) -> dict[str, Any]:
    return {"event_id": event.event_id, "event": event.SerializeToString()}


def _settle(stored: "asyncio.Future[bool]", result: bool) -> None:
    if not stored.done():
        stored.set_result(result)


def _in_full(event: audit_pb2.AuditEvent) -> dict[str, str]:
    return {"event": str(event)}
