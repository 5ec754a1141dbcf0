"""What can be subscribed to."""

from dataclasses import dataclass
from enum import Enum

from services.marketdata.domain.indicators import Indicator
from services.marketdata.domain.market import Channel, Interval


@dataclass(frozen=True, slots=True)
class Instrument:
    """One channel of one symbol."""

    channel: Channel
    symbol: str
    interval: Interval | None = None
    """Of candles and indicators."""
    include_forming: bool = False
    """Of candles: whether the one that is forming is wanted too."""
    indicator: Indicator | None = None
    """Of indicators."""


class Subscribed(Enum):
    """What became of an instrument that was asked for; the contract's SubscriptionStatus tells what each means."""

    SUBSCRIBED = "subscribed"
    UNSUBSCRIBED = "unsubscribed"
    ALREADY_SUBSCRIBED = "already_subscribed"
    NOT_SUBSCRIBED = "not_subscribed"
    SYMBOL_NOT_FOUND = "symbol_not_found"
    BOOK_NOT_FOLLOWED = "book_not_followed"
    TOO_MANY = "too_many"
