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
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    Identity,
    LargeBinary,
    MetaData,
    Table,
    Uuid,
    bindparam,
    delete,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import Insert, insert
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
        self._insert = _insert_into(self._outbox)
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
        await connection.execute(self._insert, _parameters([event]))

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
            proven = False
            try:
                # Held while all goes well: to borrow it, and a transaction around it, would cost more than the insert.
                async with self._engine.connect() as connection:
                    await connection.execution_options(isolation_level="AUTOCOMMIT")
                    while True:
                        self._news.clear()
                        while self._waiting:
                            await self._write_batch(connection)
                            proven = True
                        await self._news.wait()
            except Exception as error:  # noqa: BLE001 - whatever it is, the events are kept and tried again
                # A connection that has worked may only be old: a new one tells.
                if not proven:
                    await self._wait_after(error)
                self._news.set()

    async def flush(self) -> None:
        """Store what is left, or log it."""
        try:
            while self._waiting:
                async with self._engine.begin() as connection:
                    await self._write_batch(connection)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing more can be done than to log the events
            self._report(error)
        for event, stored in self._waiting:
            _settle(stored, False)
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

    async def _write_batch(self, connection: AsyncConnection) -> None:
        batch = list(islice(self._waiting, _BATCH))
        async with asyncio.timeout(_ATTEMPT_SECONDS):
            await connection.execute(self._insert, _parameters([event for event, _ in batch]))
        self._fails = False
        for _, stored in batch:
            self._waiting.popleft()
            _settle(stored, True)
        await self._tell_attempt()

    async def _wait_after(self, error: Exception) -> None:
        """Until it is worth while to try again: some time later, or when somebody adds an event or asks."""
        self._report(error)
        for _, stored in self._waiting:
            _settle(stored, False)
        self._news.clear()
        await self._tell_attempt()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._retry_seconds):
                await self._news.wait()

    async def _tell_attempt(self) -> None:
        async with self._attempts:
            self._attempts.notify_all()

    def _report(self, error: Exception) -> None:
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


def _insert_into(outbox: Table) -> Insert:
    """Takes all events in one statement, in their order."""
    arrays = bindparam("event_ids", type_=ARRAY(Uuid(as_uuid=False))), bindparam("events", type_=ARRAY(LargeBinary))
    rows = func.unnest(*arrays).table_valued("event_id", "event", with_ordinality="place").render_derived()
    in_order = select(rows.c.event_id, rows.c.event).order_by(rows.c.place)
    return (
        insert(outbox).from_select(["event_id", "event"], in_order).on_conflict_do_nothing(index_elements=["event_id"])
    )


def _parameters(events: Sequence[audit_pb2.AuditEvent]) -> dict[str, Any]:
    return {
        "event_ids": [event.event_id for event in events],
        "events": [event.SerializeToString() for event in events],
    }


def _settle(stored: "asyncio.Future[bool]", result: bool) -> None:
    if not stored.done():
        stored.set_result(result)


def _in_full(event: audit_pb2.AuditEvent) -> dict[str, str]:
    return {"event": str(event)}
