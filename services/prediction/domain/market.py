"""Candles."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

INTERVAL = timedelta(minutes=5)
"""Length of the candles that every feature and model here reads."""
INTERVAL_MS = 300_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Bar(NamedTuple):
    """A complete candle as the features read it: its open time in milliseconds since 1970, prices and volume."""

    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def close_time_ms(self) -> int:
        """When the candle ends, and its features are known."""
        return self.open_time_ms + INTERVAL_MS


@dataclass(frozen=True, slots=True)
class Candle:
    """A complete five-minute candle of a symbol, in the exact numbers of its source."""

    symbol: str
    open_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal

    @property
    def close_time(self) -> datetime:
        """When it ends; a trade at this very time belongs to the next."""
        return self.open_time + INTERVAL

    def bar(self) -> Bar:
        """The same candle for the features."""
        return Bar(
            to_ms(self.open_time),
            float(self.open),
            float(self.high),
            float(self.low),
            float(self.close),
            float(self.volume),
        )


def to_ms(moment: datetime) -> int:
    """``moment`` in whole milliseconds since 1970."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def from_ms(milliseconds: int) -> datetime:
    """The moment so many milliseconds after 1970, in UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)
