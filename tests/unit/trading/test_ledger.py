"""Whatever happens, the sum of the fills explains every balance, and nothing is ever negative."""

from dataclasses import replace
from decimal import Decimal
from uuid import uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.trading.adapters.paper import PaperVenue
from services.trading.domain.accounts import Account
from services.trading.domain.money import exact
from services.trading.domain.orders import Fill, Order, Side
from services.trading.domain.portfolios import Portfolio
from services.trading.errors import InsufficientFunds, InsufficientPosition
from tests.unit.trading.builders import BTC, ETH, FEES, NOW, FixedMarket, a_trade, an_account, an_order

symbols = st.sampled_from([BTC, ETH])
quantities = st.decimals("0.0001", "3", places=4)
prices = st.decimals("50", "150", places=2)


class Ledger(RuleBasedStateMachine):
    """One account that orders, cancels, and is filled by a moving market."""

    def __init__(self) -> None:
        super().__init__()
        self.market = FixedMarket(BTC="100", ETH="100")
        self.venue = PaperVenue(self.market, FEES, Decimal(5), uuid4)
        self.account: Account = an_account("500")
        self.orders: dict[object, Order] = {}
        self.fills: list[Fill] = []

    @rule(symbol=symbols, side=st.sampled_from(Side), quantity=quantities, limit=st.none() | prices)
    def submit(self, symbol: str, side: Side, quantity: Decimal, limit: Decimal | None) -> None:
        order = an_order(
            side, str(quantity), None if limit is None else str(limit), symbol=symbol, account=self.account
        )
        fills = self.venue.place(order)
        for fill in fills:
            order = order.filled(fill)
        try:
            self.account = self.account.after(None, order, fills)
        except (InsufficientFunds, InsufficientPosition):
            return
        self.orders[order.order_id] = order
        self.fills += fills

    @rule(symbol=symbols, price=prices, quantity=quantities)
    def trade(self, symbol: str, price: Decimal, quantity: Decimal) -> None:
        self.market.prices[symbol] = price
        resting = [order for order in self.orders.values() if order.is_open]
        for fill in self.venue.match(resting, [a_trade(str(price), str(quantity), symbol=symbol)]):
            before = self.orders[fill.order_id]
            after = self.orders[fill.order_id] = before.filled(fill)
            self.account = self.account.after(before, after, [fill])
            self.fills.append(fill)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if resting := [order for order in self.orders.values() if order.is_open]:
            before = data.draw(st.sampled_from(resting))
            after = self.orders[before.order_id] = before.cancelled()
            self.account = self.account.after(before, after, [])

    @invariant()
    @exact
    def the_fills_explain_every_balance(self) -> None:
        assert self.account.cash == 500 + sum(fill.cash_change for fill in self.fills)
        assert self.account.fees_paid == sum(fill.fee for fill in self.fills)
        for symbol, position in self.account.positions.items():
            changes = (
                fill.quantity if fill.side is Side.BUY else -fill.quantity
                for fill in self.fills
                if fill.symbol == symbol
            )
            assert position.quantity == sum(changes)

    @invariant()
    @exact
    def the_open_orders_explain_every_reservation(self) -> None:
        assert self.account.reserved_cash == sum(order.reserved_cash for order in self.orders.values())
        for symbol, position in self.account.positions.items():
            selling = (order for order in self.orders.values() if order.terms.symbol == symbol)
            assert position.reserved == sum(order.reserved_quantity for order in selling)

    @invariant()
    def nothing_is_negative(self) -> None:
        assert 0 <= self.account.reserved_cash <= self.account.cash
        for position in self.account.positions.values():
            assert 0 <= position.reserved <= position.quantity
            assert position.cost >= 0
            assert position.quantity or not position.cost

    @invariant()
    @exact
    def the_profit_is_what_the_equity_grew_by(self) -> None:
        portfolio = Portfolio.of(self.account, self.market.prices, NOW)
        assert portfolio.equity - 500 == portfolio.realized_pnl + portfolio.unrealized_pnl
        held = {holding.position.symbol: holding.market_value for holding in portfolio.holdings}
        assert portfolio.equity == self.account.cash + sum(held.values())

    @invariant()
    @exact
    def every_order_is_the_sum_of_its_fills(self) -> None:
        for order in self.orders.values():
            own = [fill for fill in self.fills if fill.order_id == order.order_id]
            assert order == replace(
                order,
                filled_quantity=sum((fill.quantity for fill in own), Decimal(0)),
                filled_notional=sum((fill.notional for fill in own), Decimal(0)),
                fee=sum((fill.fee for fill in own), Decimal(0)),
            )


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
