"""Fetching a stretch of the past again."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from services.marketdata.domain.market import Channel, Interval


class BackfillState(Enum):
    """How far a backfill is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class BackfillJob:
    """A stretch of a symbol's past that is fetched; what is there already stays as it is."""

    job_id: uuid.UUID
    symbol: str
    channel: Channel
    interval: Interval | None
    start_time: datetime
    wanted_end_time: datetime | None
    """As it was asked for; None for now."""
    end_time: datetime | None
    """What happened at this time or later is not fetched; None until the source has told its time."""
    state: BackfillState
    position: datetime
    """What happened before this time has been fetched."""
    fetched_rows: int
    new_rows: int
    create_time: datetime
    complete_time: datetime | None = None
    problem: str = ""

    @classmethod
    def asked_for(
        cls,
        job_id: uuid.UUID,
        symbol: str,
        channel: Channel,
        interval: Interval | None,
        start_time: datetime,
        end_time: datetime | None,
        now: datetime,
    ) -> "BackfillJob":
        """A job that waits for the leader of its source."""
        return cls(
            job_id,
            symbol,
            channel,
            interval,
            start_time,
            end_time,
            end_time,
            BackfillState.WAITING,
            start_time,
            0,
            0,
            now,
        )

    def asks_for_the_same_as(self, other: "BackfillJob") -> bool:
        """Whether both were created by the same request."""
        return self._content == other._content

    @property
    def _content(self) -> tuple[object, ...]:
        return self.symbol, self.channel, self.interval, self.start_time, self.wanted_end_time
