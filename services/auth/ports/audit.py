"""Where the audit chain is kept, and where its head is anchored."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.auth.domain.audit import Anchor, AuditEvent, Link, Outcome


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which events are asked for; what is None does not matter."""

    start_time: datetime | None = None
    """From then on."""
    end_time: datetime | None = None
    """Before then."""
    actor: str | None = None
    action: str | None = None
    outcome: Outcome | None = None


class AuditChain(Protocol):
    """Events, each tied to the one before by its hash. What is in it stays as it is."""

    async def append(self, events: Sequence[AuditEvent]) -> None:
        """Add ``events`` at the end, all or none; one whose id is in the chain already is left out.

        Whoever appends at the same time waits, so that no number is given twice and none is left out.
        """

    async def head(self) -> Link | None:
        """The newest link."""

    async def page(self, wanted: AuditFilter, before: int | None, limit: int) -> Sequence[Link]:
        """At most ``limit`` links that are ``wanted``, the newest first, those before the number ``before``."""

    def links(self) -> AsyncIterator[Sequence[Link]]:
        """The whole chain as it is at one moment, by number, some links at a time."""


class Anchors(Protocol):
    """Remembers heads of the chain where whoever can change the database cannot change them."""

    async def add(self, anchor: Anchor) -> None:
        """Remember ``anchor`` for good, unless it is the newest one already, or older than that."""

    def all(self) -> Iterator[Anchor]:
        """Those that are remembered at the call, by number. Raises AnchorsUnreadable, also in the middle."""
