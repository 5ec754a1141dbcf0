"""Where it stays what is missing, and what is being done about it."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.marketdata.domain.backfill import BackfillJob, BackfillState
from services.marketdata.domain.gaps import Gap, GapState
from services.marketdata.domain.market import Trade
from services.marketdata.ports.leases import Lease


@dataclass(frozen=True)
class Followed:
    """What is known of the trades of a symbol."""

    since: datetime
    """All trades after this time are stored, but for the gaps."""
    position: int
    """The trades up to this sequence have been looked at: the gaps between them and their corrections are stored."""
    newest: Trade | None
    """The last of them in the order in which they happened; of it, only id and time are known."""


@dataclass(frozen=True)
class GapFilter:
    """Which gaps are asked for."""

    symbol: str = ""
    state: GapState | None = None
    start: datetime | None = None
    end: datetime | None = None


class GapStore(Protocol):
    """Gaps, and how far the trades have been looked at for them.

    What is written under a ``lease`` that is another's by now raises LeaseLost and writes nothing.
    """

    async def followed(self, symbol: str) -> Followed | None:
        """How far the trades of a symbol have been looked at; None when they have never been."""

    async def put_followed(self, symbol: str, followed: Followed, lease: Lease | None) -> None:
        """The trades have been looked at so far."""

    async def add(self, gaps: Sequence[Gap], lease: Lease | None) -> None:
        """Store gaps that were found; those that are stored already stay as they are."""

    async def progressed(self, gap: Gap, lease: Lease | None) -> None:
        """A gap is open still: keep its ``repaired_rows`` and its ``problem``."""

    async def close(self, gaps: Sequence[Gap], lease: Lease | None) -> None:
        """The first of ``gaps`` is closed, and the others remain of it; they are not settled yet."""

    async def settle(self, gap_ids: Sequence[uuid.UUID], lease: Lease | None) -> None:
        """The candles that these closed gaps touch have been looked at."""

    async def known(self, symbol: str) -> list[tuple[Gap, bool]]:
        """The gaps of a symbol that are not repaired or not settled, by time, and whether each is settled."""

    async def open_count(self, symbols: Sequence[str]) -> int:
        """How many gaps of these symbols are open."""

    async def list(self, wanted: GapFilter, before: int | None, limit: int) -> list[tuple[int, Gap]]:
        """Gaps with their numbers, the newest first; those before the number ``before`` if it is given."""


class JobStore(Protocol):
    """Backfill jobs."""

    async def create(self, job: BackfillJob, source: str) -> BackfillJob:
        """Store ``job``, or return the one that has its id."""

    async def get(self, job_id: uuid.UUID) -> BackfillJob | None:
        """The job with this id."""

    async def list(
        self, symbol: str, state: BackfillState | None, before: int | None, limit: int
    ) -> list[tuple[int, BackfillJob]]:
        """Jobs with their numbers, the newest first; those before the number ``before`` if it is given."""

    async def cancel(self, job_id: uuid.UUID, now: datetime) -> BackfillJob | None:
        """End a job that has not ended; returns it as it is then, None when there is none."""

    async def next(self, source: str, skip: Collection[uuid.UUID] = ()) -> BackfillJob | None:
        """The oldest job of a source that has not ended and is not to be skipped."""

    async def progressed(self, job: BackfillJob, lease: Lease | None) -> bool:
        """Keep how far ``job`` is, unless it has ended meanwhile; whether it goes on."""
