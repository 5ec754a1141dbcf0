"""The audit chain in PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from operator import eq, ge, lt
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.auth.adapters.tables import audit_events, one_at_a_time
from services.auth.domain.audit import NO_HASH, AuditEvent, Link, link_hash
from services.auth.ports.audit import AuditFilter

_AT_A_TIME = 500
_LINKS = select(*(audit_events.c[name] for name in ("sequence", *AuditEvent.__slots__, "hash")))
_NEWEST = _LINKS.order_by(audit_events.c.sequence.desc()).limit(1)


class SqlAuditChain:
    """The chain in the table ``auth.audit_events``, which triggers keep from being changed."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def append(self, events: Sequence[AuditEvent]) -> None:
        async with self._engine.begin() as connection:
            await one_at_a_time(connection, "auth audit chain")
            new = await _without_known(connection, events)
            newest = (await connection.execute(_NEWEST)).one_or_none()
            links = _linked(new, *((newest.sequence, newest.hash) if newest else (0, NO_HASH)))
            if links:
                await connection.execute(insert(audit_events), [_values(link) for link in links])

    async def head(self) -> Link | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(_NEWEST)).one_or_none()
        return None if row is None else _link(row)

    async def page(self, wanted: AuditFilter, before: int | None, limit: int) -> Sequence[Link]:
        conditions = (
            (audit_events.c.event_time, ge, wanted.start_time),
            (audit_events.c.event_time, lt, wanted.end_time),
            (audit_events.c.actor, eq, wanted.actor),
            (audit_events.c.action, eq, wanted.action),
            (audit_events.c.outcome, eq, wanted.outcome),
            (audit_events.c.sequence, lt, before),
        )
        chosen = [compared(column, value) for column, compared, value in conditions if value is not None]
        query = _LINKS.where(*chosen).order_by(audit_events.c.sequence.desc()).limit(limit)
        async with self._engine.connect() as connection:
            return [_link(row) for row in await connection.execute(query)]

    async def links(self) -> AsyncIterator[Sequence[Link]]:
        query = _LINKS.order_by(audit_events.c.sequence)
        async with self._engine.connect() as connection:
            rows = await connection.stream(query, execution_options={"yield_per": _AT_A_TIME})
            async for batch in rows.partitions():
                yield [_link(row) for row in batch]


async def _without_known(connection: AsyncConnection, events: Sequence[AuditEvent]) -> Sequence[AuditEvent]:
    """The events that are not in the chain, each once."""
    unique = {event.event_id: event for event in events}
    query = select(audit_events.c.event_id).where(audit_events.c.event_id.in_(unique))
    for known in await connection.scalars(query):
        del unique[known]
    return list(unique.values())


def _linked(events: Sequence[AuditEvent], sequence: int, previous: bytes) -> list[Link]:
    links = []
    for event in events:
        sequence, previous = sequence + 1, link_hash(previous, sequence + 1, event)
        links.append(Link(sequence, event, previous))
    return links


def _values(link: Link) -> dict[str, Any]:
    fields = {name: getattr(link.event, name) for name in AuditEvent.__slots__}
    return {**fields, "sequence": link.sequence, "subject": dict(link.event.subject), "hash": link.hash}


def _link(row: Sequence[Any]) -> Link:
    # By place, not by name: half the time that a check of the whole chain takes would go into looking up names.
    sequence, *fields, hashed = row
    return Link(sequence, AuditEvent(*fields), hashed)
