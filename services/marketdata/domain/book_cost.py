"""What an amount costs when it is taken from an order book."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from enum import Enum

from services.marketdata.domain.book import BookSnapshot, Level
from services.marketdata.errors import LiquidityTooSmall

_DIGITS = 60
"""Of sums and products, so that none is rounded."""
_QUOTIENT_DIGITS = 28
"""Of averages and other quotients, which may have no end."""
_BASIS_POINTS = 10_000


class BookSide(Enum):
    """A side of an order book."""

    BID = "bid"
    """What is bid for; a seller takes from it."""
    ASK = "ask"
    """What is offered; a buyer takes from it."""


@dataclass(frozen=True)
class Amount:
    """What is to be taken from a book."""

    value: Decimal
    is_notional: bool
    """Whether it counts the quote asset; otherwise it counts the base asset."""


@dataclass(frozen=True)
class Cost:
    """What an amount costs."""

    vwap: Decimal
    """The average price, weighted by quantity, to 28 digits."""
    quantity: Decimal
    notional: Decimal
    worst_price: Decimal
    """Of the last level that is needed."""
    slippage_bps: float
    """How far the average is from the mid price, or from the best price where the other side is empty."""
    update_id: int


def cost_of(book: BookSnapshot, side: BookSide, amount: Amount) -> Cost:
    """What ``amount`` costs. Raises LiquidityTooSmall where the book holds less."""
    return (cost_of_notional if amount.is_notional else cost_of_quantity)(book, side, amount.value)


def cost_of_quantity(book: BookSnapshot, side: BookSide, wanted: Decimal) -> Cost:
    """What ``wanted`` of the base asset costs. Raises LiquidityTooSmall where the book holds less."""
    levels = _levels(book, side)
    with localcontext(prec=_DIGITS):
        rest, notional = wanted, Decimal(0)
        for level in levels:
            taken = min(rest, level.quantity)
            notional += taken * level.price
            rest -= taken
            if not rest:
                return _cost(book, side, wanted, notional, level.price)
        raise _too_small(book, wanted - rest)


def cost_of_notional(book: BookSnapshot, side: BookSide, wanted: Decimal) -> Cost:
    """What ``wanted`` of the quote asset buys or takes to get. Raises LiquidityTooSmall where the book holds less."""
    levels = _levels(book, side)
    with localcontext(prec=_DIGITS):
        rest, quantity = wanted, Decimal(0)
        for level in levels:
            value = level.price * level.quantity
            if value >= rest:
                return _cost(book, side, quantity + _quotient(rest, level.price), wanted, level.price)
            quantity += level.quantity
            rest -= value
        raise _too_small(book, wanted - rest)


def _levels(book: BookSnapshot, side: BookSide) -> Sequence[Level]:
    return book.asks if side is BookSide.ASK else book.bids


def _cost(book: BookSnapshot, side: BookSide, quantity: Decimal, notional: Decimal, worst: Decimal) -> Cost:
    vwap = _quotient(notional, quantity)
    reference = book.mid_price
    if reference is None:
        reference = _levels(book, side)[0].price
    worse = vwap - reference if side is BookSide.ASK else reference - vwap
    return Cost(vwap, quantity, notional, worst, float(worse * _BASIS_POINTS / reference), book.update_id)


def _quotient(dividend: Decimal, divisor: Decimal) -> Decimal:
    with localcontext(prec=_QUOTIENT_DIGITS):
        return dividend / divisor


def _too_small(book: BookSnapshot, available: Decimal) -> LiquidityTooSmall:
    return LiquidityTooSmall(
        f"the order book of {book.symbol} holds only {available:f} within its depth; ask for less, or give the symbol a"
        " greater book_depth",
        available=f"{available:f}",
    )
