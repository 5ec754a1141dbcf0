"""Where symbols and candles stay."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.marketdata.domain.market import Candle, Interval, Symbol


@dataclass(frozen=True)
class History:
    """What is stored of a series of candles, and what of it is streamed."""

    start_time: datetime
    """Open time of the first candle wanted."""
    next_open: datetime
    """Open time of the first candle that is not stored yet."""
    live_from: datetime | None
    """Candles from this open time on are published; None until the first fetching of the history is complete."""


class Store(Protocol):
    """Where symbols and candles stay. Writing the same again changes nothing."""

    async def symbols(self) -> list[Symbol]:
        """All symbols, by id."""

    async def put_symbols(self, symbols: Sequence[Symbol]) -> None:
        """Add symbols, or bring them up to date."""

    async def history(self, symbol: str, interval: Interval) -> History | None:
        """What is known of a series; None when nothing."""

    async def put_history(self, symbol: str, interval: Interval, history: History) -> None:
        """Begin a series, or change what is known of it."""

    async def add_candles(self, candles: Sequence[Candle], history: History | None) -> None:
        """Store candles of one series, replacing those that are there with other values.

        In the same transaction ``history``, if given, becomes what is known of the series. What opens at its
        ``live_from`` or later, and every replacement of such a candle, waits to be published.
        """

    async def unpublished(self, symbol: str, interval: Interval) -> list[Candle]:
        """The first candles of a series that wait to be published, by time."""

    async def mark_published(self, candles: Sequence[Candle]) -> None:
        """These candles of one series wait no longer."""

    async def candles(
        self, symbol: str, interval: Interval, start: datetime | None, end: datetime | None, limit: int
    ) -> list[Candle]:
        """The first ``limit`` candles that open in [start, end), by time."""

    async def newest_candles(self, symbol: str, interval: Interval, limit: int) -> list[Candle]:
        """The last ``limit`` candles, by time."""

    async def drop_expired(self, before: datetime) -> None:
        """Drop the partitions of candles that hold nothing newer."""
