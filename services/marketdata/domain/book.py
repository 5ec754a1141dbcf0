"""Order books."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Level:
    """All that waits at one price."""

    price: Decimal
    quantity: Decimal
    """0 in a delta: nothing waits there any more."""


@dataclass(frozen=True, slots=True)
class BookSnapshot:
    """A whole book, the best price of each side first."""

    symbol: str
    update_id: int
    """The source's number of the last change in it."""
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    event_time: datetime
    receive_time: datetime


@dataclass(frozen=True, slots=True)
class BookDelta:
    """The levels that are otherwise after the changes ``first_update_id`` to ``last_update_id``."""

    symbol: str
    first_update_id: int
    last_update_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    event_time: datetime
    receive_time: datetime


BookChange = BookSnapshot | BookDelta
