"""Orders as requests describe them."""

import re
import secrets
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from services.simex import errors
from services.simex.instrument import WIRE_DECIMALS, Instrument
from services.simex.orders import ZERO, NewOrder, OrderType, Side, TimeInForce
from services.simex.rest import Query

_CLIENT_ID = re.compile(r"^[a-zA-Z0-9-_]{1,36}$")
_AMOUNT = re.compile(r"^([0-9]{1,20})(\.[0-9]{1,20})?$")

_Choice = TypeVar("_Choice", bound=StrEnum)


def new_order(query: Query, instrument: Instrument) -> NewOrder:
    """The order that a request asks for; raises ApiError where a parameter is missing, wrong or not wanted."""
    client_id = query.get("newClientOrderId") or secrets.token_hex(11)
    if not _CLIENT_ID.match(client_id):
        raise errors.illegal("newClientOrderId", "^[a-zA-Z0-9-_]{1,36}$")
    side = _choice(query, "side", Side, errors.bad_side())
    kind = _choice(query, "type", OrderType, errors.bad_order_type())
    time_in_force = TimeInForce.GTC
    if kind is OrderType.LIMIT:
        time_in_force = _choice(query, "timeInForce", TimeInForce, errors.bad_time_in_force())
    elif "timeInForce" in query:
        raise errors.not_required("timeInForce")
    price, quantity, amount = _amounts(query, kind, instrument)
    return NewOrder(instrument.symbol, client_id, side, kind, time_in_force, price, quantity, amount)


def _amounts(query: Query, kind: OrderType, instrument: Instrument) -> tuple[Decimal, Decimal, Decimal]:
    """Price, quantity and quote amount; a market order has no price, and one of the other two."""
    by_amount = kind is OrderType.MARKET and "quoteOrderQty" in query
    unwanted = {"price"} if kind is OrderType.MARKET else {"quoteOrderQty"}
    unwanted |= {"quantity"} if by_amount else set()
    if sent := sorted(unwanted & query.keys()):
        raise errors.not_required(sent[0])
    price = ZERO if kind is OrderType.MARKET else _amount(query, "price", instrument.price_decimals)
    if by_amount:
        places = instrument.price_decimals + instrument.quantity_decimals
        return price, ZERO, _amount(query, "quoteOrderQty", places)
    return price, _amount(query, "quantity", instrument.quantity_decimals), ZERO


def _amount(query: Query, name: str, places: int) -> Decimal:
    """A positive amount with at most eight decimal places, or ``places`` where the symbol has more."""
    text = query.get(name)
    if not text:
        raise errors.mandatory(name)
    match = _AMOUNT.match(text)
    if match is None:
        raise errors.illegal(name, _AMOUNT.pattern)
    if len((match[2] or ".").rstrip("0")) - 1 > max(WIRE_DECIMALS, places):
        raise errors.too_precise(name)
    amount = Decimal(text)
    if not amount:
        raise errors.ApiError(-1013, f"Invalid {name}.")
    return amount


def _choice(query: Query, name: str, choices: type[_Choice], refusal: errors.ApiError) -> _Choice:
    if not query.get(name):
        raise errors.mandatory(name)
    try:
        return choices(query[name])
    except ValueError:
        raise refusal from None
