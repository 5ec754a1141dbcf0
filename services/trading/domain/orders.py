"""Orders and their fills.

An order is OPEN, then may be PARTIALLY_FILLED, and ends FILLED or CANCELLED. What has ended never changes.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Self
from uuid import UUID

from services.trading.domain.money import ZERO, exact, rounded_quotient, share
from services.trading.errors import ClientOrderIdReused, OrderClosed


class Side(Enum):
    """The direction of an order."""

    BUY = "buy"
    SELL = "sell"


class OrderType(Enum):
    """How an order finds its price."""

    MARKET = "market"
    LIMIT = "limit"


class OrderStatus(Enum):
    """Where an order stands."""

    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"


class Liquidity(Enum):
    """Whether a fill rested in the book or took from it."""

    MAKER = "maker"
    TAKER = "taker"


@dataclass(frozen=True, slots=True)
class Fees:
    """What a venue takes of a fill's notional, in basis points."""

    maker_bps: Decimal
    taker_bps: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTerms:
    """What was asked for: the content that a repeated client_order_id must have again."""

    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    limit_price: Decimal | None = None
    prediction_id: UUID | None = None
    strategy: str | None = None

    def __post_init__(self) -> None:
        if (self.limit_price is not None) != (self.type is OrderType.LIMIT):
            raise ValueError("a limit order has a limit price, and no other order has one")
        if not (self.quantity.is_finite() and self.quantity > ZERO):
            raise ValueError(f"a quantity must be above 0, not {self.quantity}")
        if self.limit_price is not None and not (self.limit_price.is_finite() and self.limit_price > ZERO):
            raise ValueError(f"a price must be above 0, not {self.limit_price}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution of an order."""

    fill_id: UUID
    order_id: UUID
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    """In the quote asset."""
    liquidity: Liquidity
    filled_at: datetime
    """By the market's clock."""
    venue_trade_id: str | None = None
    """The trade on the market that filled a resting order; it can do so once."""

    @property
    @exact
    def notional(self) -> Decimal:
        """Price times quantity."""
        return self.price * self.quantity

    @property
    @exact
    def cash_change(self) -> Decimal:
        """What it adds to the account's money, after the fee; negative for a buy."""
        return -self.notional - self.fee if self.side is Side.BUY else self.notional - self.fee


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An instruction to buy or sell, and what became of it. Every method returns another order."""

    order_id: UUID
    account_id: UUID
    terms: OrderTerms
    maker_fee_bps: Decimal
    """The fee that its resting part will pay: agreed when it is submitted, so that what it reserves is enough."""
    status: OrderStatus
    filled_quantity: Decimal = ZERO
    filled_notional: Decimal = ZERO
    fee: Decimal = ZERO
    created_at: datetime
    updated_at: datetime
    version: int = 1
    """Counts the recorded changes; the first record is 1."""

    @classmethod
    def submitted(cls, terms: OrderTerms, *, order_id: UUID, account_id: UUID, fees: Fees, at: datetime) -> Self:
        """A new order, of which nothing has filled."""
        return cls(
            order_id=order_id,
            account_id=account_id,
            terms=terms,
            maker_fee_bps=fees.maker_bps,
            status=OrderStatus.OPEN,
            created_at=at,
            updated_at=at,
        )

    @property
    def is_open(self) -> bool:
        """Whether it can still fill."""
        return self.status in (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED)

    @property
    @exact
    def remaining(self) -> Decimal:
        """What has not filled."""
        return self.terms.quantity - self.filled_quantity

    @property
    @exact
    def reserved_cash(self) -> Decimal:
        """What the open rest of a buy can cost at worst: all of it at the limit, and the maker fee."""
        if not self.is_open or self.terms.side is Side.SELL or self.terms.limit_price is None:
            return ZERO
        notional = self.remaining * self.terms.limit_price
        return notional + share(notional, self.maker_fee_bps)

    @property
    def reserved_quantity(self) -> Decimal:
        """What the open rest of a sell will take from the position."""
        return self.remaining if self.is_open and self.terms.side is Side.SELL else ZERO

    @property
    def average_fill_price(self) -> Decimal | None:
        """Quantity-weighted mean price of the fills, to 18 places, for display only; None before the first."""
        return rounded_quotient(self.filled_notional, self.filled_quantity) if self.filled_quantity else None

    @exact
    def filled(self, fill: Fill) -> Self:
        """The order after ``fill``. Raises ValueError for a fill that cannot be one of this order."""
        if not self.is_open:
            raise ValueError(f"order {self.order_id} is {self.status.value}: nothing can fill it")
        if fill.order_id != self.order_id or not ZERO < fill.quantity <= self.remaining:
            raise ValueError(f"order {self.order_id} has {self.remaining} left: {fill} does not belong to it")
        if self._worse_than_limit(fill.price):
            raise ValueError(f"order {self.order_id} is limited to {self.terms.limit_price}, not {fill.price}")
        complete = fill.quantity == self.remaining
        return replace(
            self,
            status=OrderStatus.FILLED if complete else OrderStatus.PARTIALLY_FILLED,
            filled_quantity=self.filled_quantity + fill.quantity,
            filled_notional=self.filled_notional + fill.notional,
            fee=self.fee + fill.fee,
        )

    def cancelled(self) -> Self:
        """The order without its open rest. Raises OrderClosed when all of it has filled."""
        if self.status is OrderStatus.FILLED:
            raise OrderClosed("the order has filled, so it cannot be cancelled", status="ORDER_STATUS_FILLED")
        return replace(self, status=OrderStatus.CANCELLED)

    def changed(self, at: datetime) -> Self:
        """The next version, to be recorded."""
        return replace(self, updated_at=at, version=self.version + 1)

    def repeated(self, terms: OrderTerms) -> Self:
        """The order as it is, when ``terms`` are its own. Raises ClientOrderIdReused when they are others."""
        if terms != self.terms:
            raise ClientOrderIdReused(
                "client_order_id was used before, for an order with other content; choose another one",
                client_order_id=terms.client_order_id,
                order_id=str(self.order_id),
            )
        return self

    def _worse_than_limit(self, price: Decimal) -> bool:
        limit = self.terms.limit_price
        if limit is None:
            return False
        return price > limit if self.terms.side is Side.BUY else price < limit
