"""Cancelling orders."""

from uuid import UUID

from services.runtime.clock import Clock
from services.trading.domain.orders import Order, OrderStatus
from services.trading.errors import OrderNotFound
from services.trading.ports import Units


class CancelOrder:
    """Take back what has not filled of an order, and free what it reserved. Needs no market."""

    def __init__(self, units: Units, now: Clock) -> None:
        self._units = units
        self._now = now

    async def __call__(self, user_id: str, order_id: UUID) -> Order:
        """The cancelled order, also when it was cancelled before. Raises OrderNotFound or OrderClosed."""
        async with self._units() as unit:
            account = await unit.account(user_id)
            order = await unit.order(account.account_id, order_id)
            if order is None:
                raise OrderNotFound(f"there is no order {order_id} in this account", order_id=str(order_id))
            if order.status is OrderStatus.CANCELLED:
                return order
            account = (await unit.accounts_of([order]))[account.account_id]
            cancelled = order.cancelled().changed(self._now())
            await unit.record(account.after(order, cancelled, ()), cancelled, ())
            await unit.commit()
        return cancelled
