"""Rows that broke a rule."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from services.marketdata.domain.market import Candle, Channel, Trade


class Reason(Enum):
    """A rule that a row can break; the contract's QuarantineReason tells what each means."""

    MALFORMED = "malformed"
    PRICE = "price"
    QUANTITY = "quantity"
    FUTURE = "future"
    TOO_OLD = "too_old"
    CANDLE_RANGE = "candle_range"
    UNKNOWN_SYMBOL = "unknown_symbol"
    OUT_OF_ORDER = "out_of_order"
    CONFLICT = "conflict"
    PRECISION = "precision"


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that broke a rule, to be put into quarantine."""

    source: str
    symbol: str
    """The symbol's id as far as it is known."""
    channel: Channel
    reason: Reason
    detail: str
    """What exactly is wrong."""
    raw: str
    """The row as the source sent it, as JSON."""
    receive_time: datetime
    row: Trade | Candle | None = None
    """What was read in it, so that it can be judged again; None where it could not be read."""
