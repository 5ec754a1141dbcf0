"""How a source is."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum


class SourceState(Enum):
    """How a source is; the contract's SourceState tells what each means."""

    CONNECTING = "connecting"
    LIVE = "live"
    SILENT = "silent"
    DOWN = "down"
    FINISHED = "finished"


@dataclass(frozen=True)
class SourceStatus:
    """How a source is, as the replica that gathers its data sees it; counted since that began."""

    state: SourceState
    problem: str = ""
    """Why it is not LIVE; empty when it is."""
    last_message_time: datetime | None = None
    latency: timedelta | None = None
    """The newest time between an event at the source and its arrival here."""
    rows: int = 0
    quarantined: int = 0
    reconnects: int = 0
    circuit_open: bool = False
    has_history: bool = True
    """Whether all history that is wanted, and that the source has, was fetched."""
    source_time: datetime | None = None
    """What the source's own clock has passed for sure."""
