"""What is traded: names, decimal places and trading rules of one symbol.

Inside simex prices are whole *ticks*, quantities whole *steps* and quote amounts ticks x steps: integers add
up exactly and fast. They become decimals only at the edge, here.
"""

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

WIRE_DECIMALS = 8
"""Decimal places of every amount on Binance's wire."""


def fixed_point(units: int, decimals: int) -> str:
    """``units`` x 10^-``decimals`` as text with at least eight decimal places, as Binance writes amounts."""
    digits = str(abs(units)).rjust(decimals + 1, "0")
    whole, fraction = (digits[:-decimals], digits[-decimals:]) if decimals else (digits, "")
    return f"{'-' if units < 0 else ''}{whole}.{fraction.ljust(WIRE_DECIMALS, '0')}"


@dataclass(frozen=True)
class Instrument:
    """One symbol: its assets and the decimal places of its prices and quantities."""

    base: str
    quote: str
    price_decimals: int
    quantity_decimals: int
    min_notional: Decimal = Decimal(5)

    @cached_property
    def symbol(self) -> str:
        """The name on the wire, for example ``BTCUSDT``."""
        return self.base + self.quote

    @cached_property
    def tick_size(self) -> Decimal:
        """The smallest difference between two prices."""
        return Decimal(1).scaleb(-self.price_decimals)

    @cached_property
    def step_size(self) -> Decimal:
        """The smallest difference between two quantities, and the smallest quantity."""
        return Decimal(1).scaleb(-self.quantity_decimals)

    @cached_property
    def max_quantity(self) -> Decimal:
        """The largest quantity of one order."""
        return Decimal(9_000_000)

    @cached_property
    def max_price(self) -> Decimal:
        """The highest price of an order."""
        return Decimal(10_000_000)

    def price(self, ticks: int) -> Decimal:
        """A number of ticks as a price."""
        return Decimal(ticks).scaleb(-self.price_decimals)

    def quantity(self, steps: int) -> Decimal:
        """A number of steps as a quantity."""
        return Decimal(steps).scaleb(-self.quantity_decimals)

    def price_text(self, ticks: int) -> str:
        """A number of ticks as Binance writes a price."""
        return fixed_point(ticks, self.price_decimals)

    def quantity_text(self, steps: int) -> str:
        """A number of steps as Binance writes a quantity."""
        return fixed_point(steps, self.quantity_decimals)

    def quote_text(self, units: int) -> str:
        """A sum of ticks x steps as Binance writes an amount of the quote asset."""
        return fixed_point(units, self.price_decimals + self.quantity_decimals)
