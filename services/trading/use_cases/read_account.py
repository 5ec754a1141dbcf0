"""Reading what an account owns and ordered."""

from uuid import UUID

from services.runtime.clock import Clock
from services.trading.domain.accounts import account_id_of
from services.trading.domain.orders import Fill, Order
from services.trading.domain.portfolios import Portfolio
from services.trading.errors import OrderNotFound
from services.trading.ports import Market, Page, Records, Units


class GetOrder:
    """One order of the caller's account."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def __call__(self, user_id: str, order_id: UUID) -> Order:
        """The order. Raises OrderNotFound, for an order of another account too."""
        order = await self._records.order(account_id_of(user_id), order_id)
        if order is None:
            raise OrderNotFound(f"there is no order {order_id} in this account", order_id=str(order_id))
        return order


class ListOrders:
    """Orders of the caller's account, the newest first."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def __call__(
        self, user_id: str, *, symbol: str | None, open_only: bool, limit: int, before: int | None
    ) -> Page[Order]:
        """At most ``limit`` orders, from ``before`` (the ``next_before`` of the page before) on."""
        return await self._records.orders(
            account_id_of(user_id), symbol=symbol, open_only=open_only, limit=limit, before=before
        )


class ListFills:
    """Fills of the caller's account, the newest first."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def __call__(self, user_id: str, *, order_id: UUID | None, limit: int, before: int | None) -> Page[Fill]:
        """At most ``limit`` fills, from ``before`` (the ``next_before`` of the page before) on."""
        return await self._records.fills(account_id_of(user_id), order_id=order_id, limit=limit, before=before)


class GetPortfolio:
    """What the caller's account owns, at the newest prices."""

    def __init__(self, units: Units, records: Records, market: Market, now: Clock) -> None:
        self._units = units
        self._records = records
        self._market = market
        self._now = now

    async def __call__(self, user_id: str) -> Portfolio:
        """The portfolio; the account is opened if need be. Raises MarketDataUnavailable when something has no price."""
        account = await self._records.account(user_id)
        if account is None:
            async with self._units() as unit:
                account = await unit.account(user_id)
                await unit.commit()
        held = [symbol for symbol, position in account.positions.items() if position.quantity]
        return Portfolio.of(account, self._market.last_prices(held), self._now())
