"""Orders and fills: what they are, and which orders a symbol's filters admit."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from services.simex import errors
from services.simex.instrument import Instrument

ZERO = Decimal(0)


class Side(StrEnum):
    """Which way an order trades."""

    BUY = "BUY"
    SELL = "SELL"


class OrderType(StrEnum):
    """How an order meets the book."""

    LIMIT = "LIMIT"
    LIMIT_MAKER = "LIMIT_MAKER"
    MARKET = "MARKET"


class TimeInForce(StrEnum):
    """What happens to the part of an order that finds nobody at once: it waits, it expires, or all of it expires."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"


class Status(StrEnum):
    """Where an order stands."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"

    @property
    def is_open(self) -> bool:
        """Whether the order still waits in the book."""
        return self in (Status.NEW, Status.PARTIALLY_FILLED)


@dataclass(frozen=True)
class NewOrder:
    """An order as it is asked for. A market order has no price, and either a quantity or an amount to spend or get."""

    symbol: str
    client_id: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    price: Decimal
    quantity: Decimal
    quote_quantity: Decimal = ZERO

    @property
    def buys(self) -> bool:
        """Whether the order buys."""
        return self.side is Side.BUY


@dataclass(frozen=True)
class Order(NewOrder):
    """An accepted order. ``matched_id`` is the last trade of the market that it has been held against."""

    id: int = 0
    status: Status = Status.NEW
    executed: Decimal = ZERO
    quote_executed: Decimal = ZERO
    created_ms: int = 0
    updated_ms: int = 0
    matched_id: int = 0

    @property
    def remaining(self) -> Decimal:
        """The quantity that is still to be filled."""
        return self.quantity - self.executed


@dataclass(frozen=True)
class Fill:
    """A part of an order that was executed, and the commission taken from what it received."""

    id: int
    order_id: int
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    commission: Decimal
    commission_asset: str
    time_ms: int
    is_maker: bool


def check_filters(new: NewOrder, instrument: Instrument, last_price: Decimal) -> None:
    """Raise ApiError unless price, quantity and notional fit the symbol's filters.

    The notional of a market order is valued at ``last_price``.
    """
    if new.type is not OrderType.MARKET and not _is_multiple(new.price, instrument.tick_size, instrument.max_price):
        raise errors.filter_failure("PRICE_FILTER")
    if new.quote_quantity:
        notional = new.quote_quantity
    else:
        if not _is_multiple(new.quantity, instrument.step_size, instrument.max_quantity):
            raise errors.filter_failure("LOT_SIZE")
        notional = new.quantity * (new.price or last_price)
    if notional < instrument.min_notional:
        raise errors.filter_failure("NOTIONAL")


def _is_multiple(amount: Decimal, unit: Decimal, most: Decimal) -> bool:
    return unit <= amount <= most and amount % unit == 0
