"""The paper venue: fills from the live market, with fees and slippage."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from uuid import UUID

from services.trading.domain.markets import Trade
from services.trading.domain.money import ZERO, ceil_to, exact, floor_to, share
from services.trading.domain.orders import Fees, Fill, Liquidity, Order, OrderType, Side
from services.trading.ports import Market


class PaperVenue:
    """Executes orders against what others trade, as if they did not notice.

    A market order fills at once and whole, at the newest price and a slippage against the trader. A limit order at or
    beyond the newest price fills at once and whole at that price; another one rests, and fills at its limit when a
    trade goes at or through it, by no more than was traded. Resting orders share a trade by price, then by time.
    """

    def __init__(self, market: Market, fees: Fees, slippage_bps: Decimal, new_id: Callable[[], UUID]) -> None:
        self._market = market
        self._fees = fees
        self._slippage_bps = slippage_bps
        self._new_id = new_id

    @property
    def fees(self) -> Fees:
        """The fees of the settings."""
        return self._fees

    @exact
    def place(self, order: Order) -> list[Fill]:
        """The fill of the whole order if it is marketable; else nothing, and it rests."""
        newest = self._market.price(order.terms.symbol)
        if order.terms.type is OrderType.MARKET:
            price = self._slipped(order, newest.value)
        elif _reached(order, newest.value):
            price = newest.value
        else:
            return []
        fee = share(price * order.terms.quantity, self._fees.taker_bps)
        return [
            Fill(
                fill_id=self._new_id(),
                order_id=order.order_id,
                symbol=order.terms.symbol,
                side=order.terms.side,
                price=price,
                quantity=order.terms.quantity,
                fee=fee,
                liquidity=Liquidity.TAKER,
                filled_at=newest.market_time,
            )
        ]

    @exact
    def match(self, orders: Sequence[Order], trades: Sequence[Trade]) -> list[Fill]:
        """The fills of resting ``orders``, the oldest first, by ``trades``.

        A trade that reached us before an order was recorded does not fill it, and what fills is a whole number of the
        symbol's steps, so that it can be sold again.
        """
        resting = {order.order_id: order for order in orders}
        fills = []
        for trade in trades:
            if not (met := [order for order in resting.values() if _meets(order, trade)]):
                continue
            left = trade.quantity
            step = self._market.symbol(trade.symbol).quantity_step
            for order in _by_price_then_time(met, trade):
                quantity = floor_to(min(left, order.remaining), step)
                if quantity == ZERO:
                    continue
                fill = self._maker_fill(order, trade, quantity)
                resting[order.order_id] = order.filled(fill)
                left -= quantity
                fills.append(fill)
        return fills

    def _slipped(self, order: Order, price: Decimal) -> Decimal:
        """``price`` made worse by the slippage, and rounded away from the trader to the symbol's step."""
        step = self._market.symbol(order.terms.symbol).price_step
        slippage = share(price, self._slippage_bps)
        if order.terms.side is Side.BUY:
            return ceil_to(price + slippage, step)
        return max(floor_to(price - slippage, step), step)

    def _maker_fill(self, order: Order, trade: Trade, quantity: Decimal) -> Fill:
        price = order.terms.limit_price
        assert price is not None  # noqa: S101 - only limit orders rest
        return Fill(
            fill_id=self._new_id(),
            order_id=order.order_id,
            symbol=order.terms.symbol,
            side=order.terms.side,
            price=price,
            quantity=quantity,
            fee=share(price * quantity, order.maker_fee_bps),
            liquidity=Liquidity.MAKER,
            filled_at=trade.traded_at,
            venue_trade_id=trade.trade_id,
        )


def _meets(order: Order, trade: Trade) -> bool:
    return (
        order.is_open
        and order.terms.symbol == trade.symbol
        and order.created_at <= trade.received_at
        and _reached(order, trade.price)
    )


def _reached(order: Order, price: Decimal) -> bool:
    """Whether ``price`` is at the order's limit, or better for it."""
    limit = order.terms.limit_price
    if limit is None:
        return False
    return price <= limit if order.terms.side is Side.BUY else price >= limit


def _by_price_then_time(orders: Sequence[Order], trade: Trade) -> list[Order]:
    """The order whose limit the trade went through furthest comes first; among equals the oldest."""
    return sorted(orders, key=lambda order: -abs((order.terms.limit_price or trade.price) - trade.price))
