"""Accepting orders."""

from collections.abc import Callable
from uuid import UUID

from services.runtime.clock import Clock
from services.trading.domain.orders import Order, OrderTerms
from services.trading.ports import Market, Units, Venue


class SubmitOrder:
    """Accept an order once: check it, let the venue fill what fills at once, and record all of it together."""

    def __init__(self, units: Units, market: Market, venue: Venue, new_id: Callable[[], UUID], now: Clock) -> None:
        self._units = units
        self._market = market
        self._venue = venue
        self._new_id = new_id
        self._now = now

    async def __call__(self, user_id: str, terms: OrderTerms) -> Order:
        """The order as it is now; the same one for the same terms, however often and from wherever they are sent.

        Raises ClientOrderIdReused, SymbolNotFound, StaleMarketData, PrecisionExceeded, NotionalTooSmall,
        InsufficientFunds or InsufficientPosition, and has then changed nothing.
        """
        async with self._units() as unit:
            before = await unit.account(user_id, terms.symbol)
            known = await unit.order_by_client_id(before.account_id, terms.client_order_id)
            if known is not None:
                return known.repeated(terms)
            self._market.symbol(terms.symbol).check(terms, self._market.price(terms.symbol).value)
            order = Order.submitted(
                terms, order_id=self._new_id(), account_id=before.account_id, fees=self._venue.fees, at=self._now()
            )
            fills = self._venue.place(order)
            for fill in fills:
                order = order.filled(fill)
            await unit.record(before.after(None, order, fills), order, fills)
            await unit.commit()
        return order
