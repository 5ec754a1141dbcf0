"""Where rows go that broke a rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.marketdata.domain.quarantine import Reason, Refused


class Quarantine(Protocol):
    """Keeps rows that broke a rule aside; none of them vanishes, and none stops a stream."""

    def put(self, row: Refused) -> None:
        """Keep ``row``; never waits, and never fails."""


class QuarantineKeeper(Protocol):
    """Keeps rows aside at once."""

    async def add(self, rows: Sequence[Refused]) -> None:
        """Keep ``rows`` before it returns. Raises whatever the store raises, and then has kept none."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A row in quarantine."""

    row_id: int
    refused: Refused
    replay_time: datetime | None
    """When it was taken in after all; None while it has not been."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows are asked for; what is empty or None is any."""

    source: str = ""
    symbol: str = ""
    reason: Reason | None = None
    replayed: bool = False
    """Whether those that were taken in after all are wanted too."""


class QuarantineStore(Protocol):
    """The rows in quarantine. The same row of a source, refused for the same reason, is kept once."""

    async def add(self, rows: Sequence[Refused]) -> None:
        """Keep ``rows``."""

    async def list(self, wanted: Wanted, before: int | None, limit: int) -> Sequence[Kept]:
        """The newest ``limit`` rows with ids below ``before``, the newest first."""

    async def get(self, row_ids: Sequence[int]) -> Sequence[Kept]:
        """The rows that have these ids, by id."""

    async def mark_replayed(self, row_ids: Sequence[int], when: datetime) -> None:
        """These rows have been taken in; what was marked before keeps its time."""

    async def drop(self, before: datetime) -> None:
        """Drop what was received before."""
