"""How good stored data is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.marketdata.domain.gaps import Gap
from services.marketdata.domain.market import Interval
from services.marketdata.domain.quarantine import Reason


@dataclass(frozen=True)
class Span:
    """The time that is looked at, in slices of the same length."""

    start: datetime
    end: datetime
    slices: int = 48

    @property
    def slice_length(self) -> timedelta:
        """The length of a slice."""
        return (self.end - self.start) / self.slices

    def expected(self, interval: Interval) -> int:
        """How many candles open and close in it."""
        first = interval.floor(self.start)
        first += interval.length if first < self.start else timedelta()
        return max(0, (self.end - first) // interval.length)


@dataclass(frozen=True)
class CandleCount:
    """The stored candles of an interval."""

    interval: Interval
    stored: int
    from_trades: int
    corrected: int


@dataclass(frozen=True)
class Latency:
    """From the time at the source to the arrival here; it can be negative where the clocks differ."""

    p50: timedelta
    p90: timedelta
    p99: timedelta
    max: timedelta


@dataclass(frozen=True)
class Slice:
    """The trades and the one-minute candles of a part of the span."""

    start: datetime
    trades: int = 0
    minutes: int = 0
    p50: timedelta | None = None
    p99: timedelta | None = None


@dataclass(frozen=True)
class Quality:
    """How good the data of a symbol is over a span of time."""

    symbol: str
    span: Span
    candles: Sequence[CandleCount]
    trades: int
    latency: Latency | None
    slices: Sequence[Slice]
    gaps: Sequence[Gap]
    quarantine: Mapping[Reason, int] = field(default_factory=dict)
