"""Where candles stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from services.marketdata.domain.market import Candle, Interval
from services.marketdata.ports.leases import Lease


@dataclass(frozen=True)
class History:
    """What is stored of a series of candles, and what of it is streamed."""

    start_time: datetime
    """Open time of the first candle wanted."""
    next_open: datetime
    """Open time of the first candle that is not stored yet."""
    live_from: datetime | None
    """Candles from this open time on are published; None until the first fetching of the history is complete."""


def candles_line(symbol: str, interval: Interval) -> str:
    """The line of the candles of a symbol and interval, as they were completed and corrected."""
    return f"candles:{interval.value}:{symbol}"


class CandleStore(Protocol):
    """The candles of all symbols. Writing the same again changes nothing.

    What is written under a ``lease`` that is another's by now raises LeaseLost and writes nothing.
    """

    async def history(self, symbol: str, interval: Interval) -> History | None:
        """What is known of a series; None when nothing."""

    async def put_history(self, symbol: str, interval: Interval, history: History, lease: Lease | None) -> None:
        """Begin a series, or change what is known of it."""

    async def add(
        self, candles: Sequence[Candle], history: History | None, lease: Lease | None, *, replace: bool = True
    ) -> list[Candle]:
        """Store candles of one series; returns those that are new or other than before, with revision and sequence.

        Without ``replace`` those that are there stay as they are. In the same transaction ``history``, if given,
        becomes what is known of the series, and the longer candles follow of which these are parts. What opens at
        ``live_from`` or later, and every correction once there is one, gets a sequence.
        """

    async def built(self, symbol: str, interval: Interval, start: datetime, end: datetime) -> list[Candle]:
        """The candles that the stored trades of [start, end) give, by time; none for intervals without trades."""

    async def built_before(self, symbol: str, interval: Interval, end: datetime) -> Candle | None:
        """A candle that opens with the last stored trade before ``end`` and has its price; None where there is none."""

    async def in_line(self, symbol: str, interval: Interval, after: int, limit: int) -> list[Candle]:
        """The first ``limit`` candles behind the sequence ``after``, as they were when they got theirs."""

    async def candles(
        self, symbol: str, interval: Interval, start: datetime | None, end: datetime | None, limit: int
    ) -> list[Candle]:
        """The first ``limit`` candles that open in [start, end), by time."""

    async def newest_candles(
        self, symbol: str, interval: Interval, limit: int, end: datetime | None = None
    ) -> list[Candle]:
        """The last ``limit`` candles of those that open before ``end`` (None: of all), by time."""

    async def drop_expired(self, now: datetime, kept: Mapping[Interval, timedelta]) -> None:
        """Drop the partitions that hold nothing newer, and what of the lines nobody asks for any more."""

    async def delete_expired(self, source: str, now: datetime, kept: Mapping[Interval, timedelta]) -> None:
        """Delete what is older of one source's symbols, each interval by its own age."""
