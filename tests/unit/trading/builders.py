"""Values for the tests of trading: ordinary ones, of which a test names what matters to it."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from services.trading.domain.accounts import Account, Position
from services.trading.domain.markets import Direction, Price, Signal, Symbol, Trade
from services.trading.domain.orders import Fees, Fill, Liquidity, Order, OrderTerms, OrderType, Side
from services.trading.errors import StaleMarketData

BTC = "BTC-USDT@simex"
ETH = "ETH-USDT@simex"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FEES = Fees(maker_bps=Decimal(10), taker_bps=Decimal(15))
SYMBOLS = {
    BTC: Symbol(BTC, price_step=Decimal("0.01"), quantity_step=Decimal("0.00001"), min_notional=Decimal(5)),
    ETH: Symbol(ETH, price_step=Decimal("0.01"), quantity_step=Decimal("0.0001"), min_notional=Decimal(5)),
}


class FixedMarket:
    """A market whose prices a test sets."""

    def __init__(self, **prices: str) -> None:
        self.prices = {f"{base}-USDT@simex": Decimal(price) for base, price in prices.items()}

    def symbol(self, symbol: str) -> Symbol:
        return SYMBOLS[symbol]

    def price(self, symbol: str) -> Price:
        if symbol not in self.prices:
            raise StaleMarketData(f"{symbol} has not traded yet")
        return Price(self.prices[symbol], NOW, NOW)

    def last_prices(self, symbols: Collection[str]) -> dict[str, Decimal]:
        return {symbol: self.prices[symbol] for symbol in symbols}


def some_terms(
    side: Side = Side.BUY, quantity: str = "1", limit: str | None = None, *, symbol: str = BTC, client_id: str = ""
) -> OrderTerms:
    """A limit order if ``limit`` is given, else a market order."""
    return OrderTerms(
        client_order_id=client_id or str(uuid4()),
        symbol=symbol,
        side=side,
        type=OrderType.MARKET if limit is None else OrderType.LIMIT,
        quantity=Decimal(quantity),
        limit_price=None if limit is None else Decimal(limit),
    )


def an_order(
    side: Side = Side.BUY,
    quantity: str = "1",
    limit: str | None = None,
    *,
    symbol: str = BTC,
    account: Account | None = None,
    at: datetime = NOW,
) -> Order:
    """A new order."""
    account_id = account.account_id if account else uuid4()
    terms = some_terms(side, quantity, limit, symbol=symbol)
    return Order.submitted(terms, order_id=uuid4(), account_id=account_id, fees=FEES, at=at)


def a_fill(
    order: Order,
    price: str,
    quantity: str,
    *,
    fee: str = "0",
    trade_id: str | None = None,
    order_id: UUID | None = None,
) -> Fill:
    """A fill of ``order``."""
    return Fill(
        fill_id=uuid4(),
        order_id=order_id or order.order_id,
        symbol=order.terms.symbol,
        side=order.terms.side,
        price=Decimal(price),
        quantity=Decimal(quantity),
        fee=Decimal(fee),
        liquidity=Liquidity.MAKER if trade_id else Liquidity.TAKER,
        filled_at=NOW,
        venue_trade_id=trade_id or None,
    )


def an_account(cash: str = "100000", **held: Position) -> Account:
    """An account with positions in both symbols, which are empty unless given."""
    account = Account.opened("someone", "USDT", Decimal(cash))
    positions = {symbol: held.get(symbol.split("-")[0], Position(symbol)) for symbol in SYMBOLS}
    return Account(
        account_id=account.account_id,
        user_id=account.user_id,
        currency=account.currency,
        initial_cash=account.initial_cash,
        cash=account.cash,
        positions=positions,
    )


def a_trade(
    price: str, quantity: str = "1", *, symbol: str = BTC, trade_id: str = "", received_at: datetime = NOW
) -> Trade:
    """A trade on the market."""
    return Trade(
        symbol=symbol,
        trade_id=trade_id or str(uuid4()),
        price=Decimal(price),
        quantity=Decimal(quantity),
        traded_at=received_at - timedelta(milliseconds=5),
        received_at=received_at,
    )


def a_signal(direction: Direction = Direction.UP, *, symbol: str = BTC, closed_at: datetime = NOW) -> Signal:
    """A signal."""
    return Signal(uuid4(), symbol, direction, closed_at)
