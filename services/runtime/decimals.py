"""Exact numbers between Python and the wire."""

from decimal import Decimal

from google.type import decimal_pb2


def to_pb(value: Decimal) -> decimal_pb2.Decimal:
    """``value`` in plain digits: never an exponent, trailing zeros kept."""
    return decimal_pb2.Decimal(value=spelled(value))


def spelled(value: Decimal) -> str:
    """The text of ``value`` on the wire."""
    return format(value, "f")


def from_pb(message: decimal_pb2.Decimal) -> Decimal:
    """The number that ``message`` spells. The contract's field rules have checked the spelling of requests."""
    return Decimal(message.value)
