"""Between the wire and the domain."""

from decimal import Decimal
from uuid import UUID

from google.type import decimal_pb2

from levimesh.marketdata.v1 import symbol_pb2, trade_pb2
from levimesh.prediction.v1 import prediction_pb2
from levimesh.trading.v1 import order_pb2, portfolio_pb2, strategy_pb2
from levimesh.trading.v1 import trading_service_pb2 as pb
from services.runtime import decimals, timestamps
from services.trading.domain.accounts import assets
from services.trading.domain.markets import Direction, Price, Signal, Symbol, Trade
from services.trading.domain.money import trimmed
from services.trading.domain.orders import Fill, Liquidity, Order, OrderStatus, OrderTerms, OrderType, Side
from services.trading.domain.portfolios import Balance, Holding, Portfolio
from services.trading.use_cases.run_strategies import StrategyState

_SIDES = {Side.BUY: order_pb2.SIDE_BUY, Side.SELL: order_pb2.SIDE_SELL}
_SIDES_FROM_PB = {wire: side for side, wire in _SIDES.items()}
_TYPES = {OrderType.MARKET: order_pb2.ORDER_TYPE_MARKET, OrderType.LIMIT: order_pb2.ORDER_TYPE_LIMIT}
_TYPES_FROM_PB = {wire: kind for kind, wire in _TYPES.items()}
_STATUSES = {
    OrderStatus.OPEN: order_pb2.ORDER_STATUS_OPEN,
    OrderStatus.PARTIALLY_FILLED: order_pb2.ORDER_STATUS_PARTIALLY_FILLED,
    OrderStatus.FILLED: order_pb2.ORDER_STATUS_FILLED,
    OrderStatus.CANCELLED: order_pb2.ORDER_STATUS_CANCELLED,
}
_LIQUIDITIES = {Liquidity.MAKER: order_pb2.LIQUIDITY_MAKER, Liquidity.TAKER: order_pb2.LIQUIDITY_TAKER}
_DIRECTIONS = {
    prediction_pb2.DIRECTION_UP: Direction.UP,
    prediction_pb2.DIRECTION_DOWN: Direction.DOWN,
    prediction_pb2.DIRECTION_NEUTRAL: Direction.NEUTRAL,
}


def _number(value: Decimal) -> decimal_pb2.Decimal:
    return decimals.to_pb(trimmed(value))


def terms_from_pb(request: pb.SubmitOrderRequest) -> OrderTerms:
    """What a user asks for."""
    return OrderTerms(
        client_order_id=request.client_order_id,
        symbol=request.symbol,
        side=_SIDES_FROM_PB[request.side],
        type=_TYPES_FROM_PB[request.type],
        quantity=decimals.from_pb(request.quantity),
        limit_price=decimals.from_pb(request.limit_price) if request.HasField("limit_price") else None,
        prediction_id=UUID(request.prediction_id) if request.prediction_id else None,
    )


def order_to_pb(order: Order) -> order_pb2.Order:
    """An order, with the mean price of its fills."""
    terms, average = order.terms, order.average_fill_price
    return order_pb2.Order(
        order_id=str(order.order_id),
        client_order_id=terms.client_order_id,
        account_id=str(order.account_id),
        symbol=terms.symbol,
        side=_SIDES[terms.side],
        type=_TYPES[terms.type],
        quantity=_number(terms.quantity),
        limit_price=None if terms.limit_price is None else _number(terms.limit_price),
        status=_STATUSES[order.status],
        filled_quantity=_number(order.filled_quantity),
        average_fill_price=None if average is None else _number(average),
        fee=_number(order.fee),
        prediction_id="" if terms.prediction_id is None else str(terms.prediction_id),
        strategy=terms.strategy or "",
        create_time=timestamps.to_pb(order.created_at),
        update_time=timestamps.to_pb(order.updated_at),
        version=order.version,
    )


def fill_to_pb(fill: Fill) -> order_pb2.Fill:
    """A fill; its fee is in the quote asset."""
    return order_pb2.Fill(
        fill_id=str(fill.fill_id),
        order_id=str(fill.order_id),
        symbol=fill.symbol,
        side=_SIDES[fill.side],
        price=_number(fill.price),
        quantity=_number(fill.quantity),
        fee=_number(fill.fee),
        fee_currency=assets(fill.symbol)[1],
        liquidity=_LIQUIDITIES[fill.liquidity],
        fill_time=timestamps.to_pb(fill.filled_at),
    )


def portfolio_to_pb(portfolio: Portfolio) -> portfolio_pb2.Portfolio:
    """A portfolio with everything that can be computed of it."""
    account = portfolio.account
    return portfolio_pb2.Portfolio(
        account_id=str(account.account_id),
        currency=account.currency,
        initial_cash=_number(account.initial_cash),
        cash=_number(account.cash),
        equity=_number(portfolio.equity),
        realized_pnl=_number(portfolio.realized_pnl),
        unrealized_pnl=_number(portfolio.unrealized_pnl),
        fees_paid=_number(account.fees_paid),
        balances=[_balance_to_pb(balance) for balance in portfolio.balances],
        positions=[_holding_to_pb(holding) for holding in portfolio.holdings],
        as_of=timestamps.to_pb(portfolio.as_of),
    )


def _balance_to_pb(balance: Balance) -> portfolio_pb2.Balance:
    return portfolio_pb2.Balance(
        currency=balance.currency,
        total=_number(balance.total),
        reserved=_number(balance.reserved),
        available=_number(balance.available),
    )


def _holding_to_pb(holding: Holding) -> portfolio_pb2.Position:
    position = holding.position
    return portfolio_pb2.Position(
        symbol=position.symbol,
        quantity=_number(position.quantity),
        cost=_number(position.cost),
        last_price=_number(holding.last_price),
        market_value=_number(holding.market_value),
        unrealized_pnl=_number(holding.unrealized_pnl),
        realized_pnl=_number(position.realized_pnl),
    )


def strategy_to_pb(state: StrategyState) -> strategy_pb2.Strategy:
    """A strategy and whether it runs."""
    running = strategy_pb2.STRATEGY_STATE_RUNNING if state.running else strategy_pb2.STRATEGY_STATE_STOPPED
    return strategy_pb2.Strategy(
        strategy=state.strategy,
        description=state.description,
        state=running,
        account_id="" if state.account_id is None else str(state.account_id),
        update_time=None if state.changed_at is None else timestamps.to_pb(state.changed_at),
    )


def symbol_from_pb(symbol: symbol_pb2.Symbol) -> Symbol:
    """A symbol. Raises ValueError when its steps make no sense."""
    return Symbol(
        symbol=symbol.symbol,
        price_step=decimals.from_pb(symbol.price_step),
        quantity_step=decimals.from_pb(symbol.quantity_step),
        min_notional=decimals.from_pb(symbol.min_notional),
    )


def price_from_pb(ticker: trade_pb2.Ticker) -> Price:
    """The newest price of a ticker."""
    return Price(
        decimals.from_pb(ticker.last_price),
        timestamps.from_pb(ticker.last_trade_time),
        timestamps.from_pb(ticker.last_receive_time),
    )


def trade_from_pb(trade: trade_pb2.Trade) -> Trade:
    """A trade on the market."""
    return Trade(
        symbol=trade.symbol,
        trade_id=trade.trade_id,
        price=decimals.from_pb(trade.price),
        quantity=decimals.from_pb(trade.quantity),
        traded_at=timestamps.from_pb(trade.trade_time),
        received_at=timestamps.from_pb(trade.receive_time),
    )


def signal_from_pb(signal: prediction_pb2.Signal) -> Signal:
    """A signal."""
    prediction = signal.prediction
    return Signal(
        prediction_id=UUID(prediction.prediction_id),
        symbol=prediction.symbol,
        direction=_DIRECTIONS[prediction.direction],
        candle_close_time=timestamps.from_pb(prediction.candle_close_time),
    )
