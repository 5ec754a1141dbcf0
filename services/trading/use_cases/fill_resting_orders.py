"""Filling what rests from what the market trades."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from services.runtime.clock import Clock
from services.trading.domain.markets import Trade
from services.trading.domain.orders import Fill
from services.trading.ports import Matcher, UnitOfWork, Units

TRADES = "trades"
"""The name of the cursor into the market's trades."""
_SAVE_EVERY = timedelta(seconds=1)


class FillRestingOrders:
    """Let trades fill the orders that rest at their price, each exactly once.

    The fills of one batch of trades and the place after it in the stream are recorded in one transaction: after a crash
    the stream goes on behind the trades that have filled something. Trades that fill nothing may be seen again, so
    the place after them is recorded only every second.
    """

    def __init__(self, units: Units, matcher: Matcher, now: Clock) -> None:
        self._units = units
        self._matcher = matcher
        self._now = now
        self._saved_at = now()

    async def __call__(self, trades: Sequence[Trade], resume_token: str) -> None:
        """Act upon ``trades``, after which the stream is resumed by ``resume_token``."""
        async with self._units() as unit:
            filled = await self._fill(unit, trades)
            if filled or self._now() - self._saved_at >= _SAVE_EVERY:
                await unit.save_cursor(TRADES, resume_token)
                await unit.commit()
                self._saved_at = self._now()

    async def _fill(self, unit: UnitOfWork, trades: Sequence[Trade]) -> bool:
        crossed = await unit.crossed_orders(trades)
        if not crossed:
            return False
        accounts = await unit.accounts_of(crossed)
        # Again, because until their accounts were held they could still be filled or cancelled.
        held = {order.order_id for order in crossed}
        orders = [order for order in await unit.crossed_orders(trades) if order.order_id in held]
        by_order: defaultdict[UUID, list[Fill]] = defaultdict(list)
        for fill in self._matcher.match(orders, await unit.unused(trades)):
            by_order[fill.order_id].append(fill)
        for before in orders:
            if fills := by_order.get(before.order_id):
                order = before.changed(self._now())
                for fill in fills:
                    order = order.filled(fill)
                account = accounts[order.account_id] = accounts[order.account_id].after(before, order, fills)
                await unit.record(account, order, fills)
        return bool(by_order)
