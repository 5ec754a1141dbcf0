"""What trading knows of the markets: symbols, their newest prices, trades and signals."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from uuid import UUID

from services.trading.domain.money import ZERO, exact
from services.trading.domain.orders import OrderTerms
from services.trading.errors import NotionalTooSmall, PrecisionExceeded


@dataclass(frozen=True, slots=True)
class Symbol:
    """A market and the grid that its prices and quantities lie on."""

    symbol: str
    price_step: Decimal
    quantity_step: Decimal
    min_notional: Decimal

    def __post_init__(self) -> None:
        if self.price_step <= ZERO or self.quantity_step <= ZERO or self.min_notional < ZERO:
            raise ValueError(f"{self.symbol}: steps must be above 0, and the smallest notional not below")

    @exact
    def check(self, terms: OrderTerms, price: Decimal) -> None:
        """Raise PrecisionExceeded or NotionalTooSmall unless the market takes an order of ``terms``.

        A market order is worth what it is at ``price``.
        """
        self._check_step("quantity", terms.quantity, self.quantity_step)
        if terms.limit_price is not None:
            self._check_step("limit_price", terms.limit_price, self.price_step)
        notional = terms.quantity * (price if terms.limit_price is None else terms.limit_price)
        if notional < self.min_notional:
            raise NotionalTooSmall(
                f"the order is worth {notional:f}; the smallest order of {self.symbol} is {self.min_notional:f}",
                min_notional=f"{self.min_notional:f}",
            )

    def _check_step(self, field: str, value: Decimal, step: Decimal) -> None:
        if value % step:
            raise PrecisionExceeded(
                f"{field} {value:f} is not a multiple of {step:f}, the step of {self.symbol}",
                field=field,
                step=f"{step:f}",
            )


@dataclass(frozen=True, slots=True)
class Price:
    """The newest price of a symbol."""

    value: Decimal
    market_time: datetime
    """When it was traded, by the market's clock, which may run at another speed than ours."""
    received_at: datetime
    """When it reached the mesh, by our clock."""


@dataclass(frozen=True, slots=True)
class Trade:
    """One execution between others on the market."""

    symbol: str
    trade_id: str
    price: Decimal
    quantity: Decimal
    traded_at: datetime
    """By the market's clock."""
    received_at: datetime
    """By our clock."""


class Direction(Enum):
    """Where a prediction sees a price going."""

    UP = "up"
    DOWN = "down"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True)
class Signal:
    """A prediction that crossed its threshold."""

    prediction_id: UUID
    symbol: str
    direction: Direction
    candle_close_time: datetime
    """By the market's clock."""
