"""The trading desk: takes orders, matches them and moves balances."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal

from services.simex import errors
from services.simex.book import BookMaker
from services.simex.columns import Trades
from services.simex.instrument import Instrument
from services.simex.ledger import Balance, Ledger
from services.simex.market import Listing, Market
from services.simex.orders import ZERO, Fill, NewOrder, Order, OrderType, Status, TimeInForce, check_filters

_COMMISSION_UNIT = Decimal("0.00000001")
_TRADES_AT_ONCE = 5000


@dataclass(frozen=True)
class Fees:
    """Commissions as fractions of what an order receives."""

    maker: Decimal
    taker: Decimal


@dataclass(frozen=True)
class _Match:
    price: Decimal
    quantity: Decimal


class TradingDesk:
    """The one account of the exchange.

    A new order takes from the book of the moment, level by level. What then waits is filled by later trades of the
    market at its price or through it, up to their quantity, best price and oldest order first. The trades of the past
    are known at any time, so waiting orders are settled when somebody asks: nothing runs in between, and what was
    traded while simex was down is not missed.
    """

    def __init__(self, market: Market, books: dict[str, BookMaker], ledger: Ledger, fees: Fees) -> None:
        self._market = market
        self._books = books
        self._fees = fees
        self.ledger = ledger

    def place(self, new: NewOrder) -> tuple[Order, list[Fill]]:
        """Accept an order; gives it as it stands now, with its fills.

        Raises ApiError when the market is closed, a filter refuses it, its client id belongs to an open order or the
        balance is too small; nothing has changed then.
        """
        listing = self._market.listings[new.symbol]
        self.settle()
        if not listing.is_open():
            raise errors.market_closed()
        last = listing.last_trades(1)
        if not len(last):
            raise errors.market_closed()
        check_filters(new, listing.instrument, listing.instrument.price(int(last.prices[0])))
        if self.ledger.has_open_order(new.client_id):
            raise errors.duplicate_order()
        matches = self._matches(new, listing)
        if new.type is OrderType.MARKET and not matches:
            raise errors.filter_failure("LOT_SIZE")
        now_ms = self._market.clock.now_ms()
        with self.ledger.transaction():
            order = self._accept(new, matches, now_ms, int(last.ids[0]))
            fills = []
            for match in matches:
                order, fill = self._fill(order, match, now_ms, is_maker=False)
                fills.append(fill)
            if order.status.is_open and (new.type is OrderType.MARKET or new.time_in_force is not TimeInForce.GTC):
                order = self._end(order, Status.EXPIRED, now_ms)
        return order, fills

    def cancel(self, symbol: str, order_id: int | None, client_id: str | None) -> Order:
        """Take an open order out of the book; raises ApiError when there is none such."""
        self.settle()
        order = self.ledger.order(symbol, order_id, client_id)
        if order is None or not order.status.is_open:
            raise errors.not_on_the_book()
        with self.ledger.transaction():
            return self._end(order, Status.CANCELED, self._market.clock.now_ms())

    def cancel_all(self, symbol: str) -> list[Order]:
        """Take all open orders of a symbol out of the book; raises ApiError when there are none."""
        self.settle()
        orders = self.ledger.open_orders(symbol)
        if not orders:
            raise errors.not_on_the_book()
        with self.ledger.transaction():
            return [self._end(order, Status.CANCELED, self._market.clock.now_ms()) for order in orders]

    def settle(self) -> None:
        """Fill waiting orders from the trades that have happened since they were last looked at."""
        waiting: dict[str, list[Order]] = {}
        for order in self.ledger.open_orders():
            waiting.setdefault(order.symbol, []).append(order)
        for symbol, orders in waiting.items():
            if symbol in self._market.listings:
                self._settle(self._market.listings[symbol], orders)

    def _settle(self, listing: Listing, orders: list[Order]) -> None:
        seen = min(order.matched_id for order in orders)
        while orders and len(trades := listing.trades_from(seen + 1, _TRADES_AT_ONCE)):
            seen = int(trades.ids[-1])
            price = listing.instrument.price
            lowest, highest = price(int(trades.prices.min())), price(int(trades.prices.max()))
            # A long stretch is written down even where it filled nothing, so that no call looks at it again.
            if any(_crosses(order, lowest if order.buys else highest) for order in orders):
                with self.ledger.transaction():
                    orders = self._held_against(seen, self._fill_from(listing.instrument, orders, trades))
            elif len(trades) == _TRADES_AT_ONCE:
                with self.ledger.transaction():
                    orders = self._held_against(seen, orders)

    def _fill_from(self, instrument: Instrument, orders: list[Order], trades: Trades) -> list[Order]:
        """Fill ``orders`` from ``trades``."""
        book = {order.id: order for order in orders}
        for trade_id, time_ms, ticks, steps, _ in trades.rows():
            price, quantity = instrument.price(ticks), instrument.quantity(steps)
            for order, match in _shared(list(book.values()), trade_id, price, quantity):
                book[order.id], _ = self._fill(order, match, time_ms, is_maker=True)
        return list(book.values())

    def _held_against(self, last_id: int, orders: list[Order]) -> list[Order]:
        """Write down that ``orders`` have met all trades up to ``last_id``; gives those that still wait."""
        met = [replace(order, matched_id=max(order.matched_id, last_id)) for order in orders]
        for order in met:
            self.ledger.update_order(order)
        return [order for order in met if order.status.is_open]

    def _matches(self, new: NewOrder, listing: Listing) -> list[_Match]:
        """What a new order takes from the book at once."""
        instrument = listing.instrument
        matches, quantity, amount = [], new.quantity, new.quote_quantity
        for ticks, steps in self._books[new.symbol].now().side(new.buys).items():
            price, offered = instrument.price(ticks), instrument.quantity(steps)
            if new.quote_quantity:
                quantity = (amount / price).quantize(instrument.step_size, ROUND_DOWN)
            taken = min(offered, quantity)
            if not taken or (new.type is not OrderType.MARKET and not _crosses(new, price)):
                break
            matches.append(_Match(price, taken))
            quantity, amount = quantity - taken, amount - taken * price
        if matches and new.type is OrderType.LIMIT_MAKER:
            raise errors.would_take()
        incomplete = new.time_in_force is TimeInForce.FOK and quantity > 0
        return [] if incomplete else matches

    def _accept(self, new: NewOrder, matches: list[_Match], now_ms: int, last_id: int) -> Order:
        """Write the order down and lock what it may spend."""
        if new.quote_quantity:
            new = replace(new, quantity=sum((match.quantity for match in matches), ZERO))
        order = Order(**vars(new), created_ms=now_ms, updated_ms=now_ms, matched_id=last_id)
        if new.type is OrderType.MARKET:
            need = sum((_locked(order, match) for match in matches), ZERO)
        else:
            need = _locked(order, _Match(order.price, order.quantity))
        balance = self.ledger.balance(self._spent(order))
        if balance.free < need:
            raise errors.insufficient_balance()
        self.ledger.set_balance(Balance(balance.asset, balance.free - need, balance.locked + need))
        return self.ledger.add_order(order)

    def _fill(self, order: Order, match: _Match, time_ms: int, *, is_maker: bool) -> tuple[Order, Fill]:
        """Execute a part of an order: what it spends leaves the locked balance, what it gets is free."""
        amount, rate = match.price * match.quantity, self._fees.maker if is_maker else self._fees.taker
        spent, got = (amount, match.quantity) if order.buys else (match.quantity, amount)
        locked, commission = _locked(order, match), (got * rate).quantize(_COMMISSION_UNIT, ROUND_DOWN)
        paying, received = self.ledger.balance(self._spent(order)), self.ledger.balance(self._received(order))
        self.ledger.set_balance(Balance(paying.asset, paying.free + locked - spent, paying.locked - locked))
        self.ledger.set_balance(Balance(received.asset, received.free + got - commission, received.locked))
        executed = order.executed + match.quantity
        order = replace(
            order,
            status=Status.FILLED if executed == order.quantity else Status.PARTIALLY_FILLED,
            executed=executed,
            quote_executed=order.quote_executed + amount,
            updated_ms=time_ms,
        )
        self.ledger.update_order(order)
        fill = Fill(
            id=0,
            order_id=order.id,
            symbol=order.symbol,
            side=order.side,
            price=match.price,
            quantity=match.quantity,
            commission=commission,
            commission_asset=received.asset,
            time_ms=time_ms,
            is_maker=is_maker,
        )
        return order, self.ledger.add_fill(fill)

    def _end(self, order: Order, status: Status, now_ms: int) -> Order:
        """End an open order and free what it has locked; a market order has locked only what it spends at once."""
        if order.type is not OrderType.MARKET:
            left = _locked(order, _Match(order.price, order.remaining))
            balance = self.ledger.balance(self._spent(order))
            self.ledger.set_balance(Balance(balance.asset, balance.free + left, balance.locked - left))
        order = replace(order, status=status, updated_ms=now_ms)
        self.ledger.update_order(order)
        return order

    def _spent(self, order: Order) -> str:
        instrument = self._market.listings[order.symbol].instrument
        return instrument.quote if order.buys else instrument.base

    def _received(self, order: Order) -> str:
        instrument = self._market.listings[order.symbol].instrument
        return instrument.base if order.buys else instrument.quote


def _crosses(order: NewOrder, price: Decimal) -> bool:
    return price <= order.price if order.buys else price >= order.price


def _locked(order: Order, match: _Match) -> Decimal:
    """What a part of an order has locked: quote at the limit (or a market order's price) to buy, base to sell."""
    return (order.price or match.price) * match.quantity if order.buys else match.quantity


def _shared(orders: list[Order], trade_id: int, price: Decimal, quantity: Decimal) -> Iterator[tuple[Order, _Match]]:
    """How a trade of the market fills waiting orders: each at its own price, best price and oldest first."""
    for order in sorted(orders, key=lambda order: (-order.price if order.buys else order.price, order.id)):
        taken = min(quantity, order.remaining)
        if taken and trade_id > order.matched_id and _crosses(order, price):
            yield order, _Match(order.price, taken)
            quantity -= taken
