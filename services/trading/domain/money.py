"""Exact arithmetic for money: it raises where it would have to round.

Sums, differences and products of finite decimals are exact if there are enough digits, and 100 are: a quantity and a
price of the contract have at most 36 digits each, a fee rate less than 10. Only a division can be inexact, so there is
one place that divides, and it says to what.
"""

from collections.abc import Callable
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    FloatOperation,
    Inexact,
    InvalidOperation,
    Overflow,
    localcontext,
)
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

ZERO = Decimal(0)
QUOTIENT_PLACES = Decimal("1e-18")
"""To what a quotient is rounded: far below the smallest unit of any asset."""

_FAULTS = [DivisionByZero, FloatOperation, InvalidOperation, Overflow]
_EXACT = Context(prec=100, traps=[Inexact, *_FAULTS])
_ROUNDING = Context(prec=100, rounding=ROUND_HALF_EVEN, traps=_FAULTS)


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Let ``function`` compute exactly: ``decimal.Inexact`` is raised in it rather than a digit lost."""

    @wraps(function)
    def computing(*args: P.args, **kwargs: P.kwargs) -> R:
        with localcontext(_EXACT):
            return function(*args, **kwargs)

    return computing


@exact
def share(amount: Decimal, basis_points: Decimal) -> Decimal:
    """``basis_points`` hundredths of a percent of ``amount``, exactly."""
    return amount * basis_points.scaleb(-4)


def rounded_quotient(numerator: Decimal, denominator: Decimal) -> Decimal:
    """``numerator / denominator``, rounded half to even to 18 places: for mean prices, and for the cost of a part."""
    return _ROUNDING.quantize(_ROUNDING.divide(numerator, denominator), QUOTIENT_PLACES)


@exact
def trimmed(value: Decimal) -> Decimal:
    """``value`` without zeros at its end."""
    return value.normalize()


@exact
def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of ``step`` that is not above ``value``, which must not be negative; with its digits."""
    return (value - value % step).quantize(step)


@exact
def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of ``step`` that is not below ``value``, which must not be negative; with its digits."""
    low = floor_to(value, step)
    return low if low == value else low + step
