"""The first strategy: long when the signal is up, out when it is down."""

from dataclasses import dataclass
from decimal import Decimal

from services.trading.domain.markets import Direction, Price, Signal, Symbol
from services.trading.domain.money import ZERO, exact, floor_to
from services.trading.domain.orders import OrderTerms, OrderType, Side
from services.trading.domain.portfolios import Portfolio


@dataclass(frozen=True, slots=True)
class SignalFollower:
    """Buys a fraction of the equity on UP when it holds nothing of the symbol, and sells all of it on DOWN."""

    fraction: Decimal
    """How much of the equity a buy spends, before slippage and fee."""
    name: str = "signal-follower"
    description: str = "Buys a part of the equity on a signal up, and sells all of the symbol on a signal down."

    def on_signal(self, signal: Signal, portfolio: Portfolio, symbol: Symbol, price: Price) -> OrderTerms | None:
        """A market order, named after the signal so that a repeated signal never orders twice; or None."""
        position = portfolio.account.positions.get(symbol.symbol)
        match signal.direction:
            case Direction.UP if position is None or not position.quantity:
                side, quantity = Side.BUY, self._affordable(portfolio.equity, price.value, symbol.quantity_step)
            case Direction.DOWN if position is not None:
                side, quantity = Side.SELL, floor_to(position.available, symbol.quantity_step)
            case _:
                return None
        if quantity == ZERO:
            return None
        return OrderTerms(
            client_order_id=f"signal-{signal.prediction_id}",
            symbol=signal.symbol,
            side=side,
            type=OrderType.MARKET,
            quantity=quantity,
            prediction_id=signal.prediction_id,
            strategy=self.name,
        )

    @exact
    def _affordable(self, equity: Decimal, price: Decimal, step: Decimal) -> Decimal:
        """The most whole steps that the fraction of the equity pays for."""
        return equity * self.fraction // (price * step) * step
