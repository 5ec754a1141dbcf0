"""What a report on the quality of data reads."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from services.marketdata.domain.gaps import Gap
from services.marketdata.domain.quality import CandleCount, Latency, Slice, Span
from services.marketdata.domain.quarantine import Reason


class QualityReader(Protocol):
    """Counts and times of what is stored."""

    async def newest(self, symbol: str) -> datetime | None:
        """When the newest stored one-minute candle ends, by the source's clock; None without any."""

    async def candles(self, symbol: str, span: Span) -> Sequence[CandleCount]:
        """The candles of each interval that has any in the span."""

    async def latency(self, symbol: str, span: Span) -> tuple[int, Latency | None]:
        """How many trades there are, and how long they took; of very many, a sample is timed."""

    async def slices(self, symbol: str, span: Span) -> Sequence[Slice]:
        """The slices of the span in which there is anything, by time."""

    async def gaps(self, symbol: str, span: Span) -> Sequence[Gap]:
        """The gaps that touch the span, by time."""

    async def quarantine(self, symbol: str, span: Span) -> Mapping[Reason, int]:
        """Rows that came in the span, by our clock, and broke a rule, by rule."""
