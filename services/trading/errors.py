"""What trading refuses, and why. The texts are shown to callers."""

from services.runtime.errors import AlreadyExists, DependencyUnavailable, FailedPrecondition, InvalidArgument, NotFound


class OrderNotFound(NotFound):
    """The account has no such order; another account's order is none."""

    reason = "ORDER_NOT_FOUND"


class SymbolNotFound(NotFound):
    """No source has such a symbol."""

    reason = "SYMBOL_NOT_FOUND"


class StrategyNotFound(NotFound):
    """There is no strategy of that name."""

    reason = "STRATEGY_NOT_FOUND"


class ClientOrderIdReused(AlreadyExists):
    """The client order id belongs to an order with other content."""

    reason = "CLIENT_ORDER_ID_REUSED"


class PrecisionExceeded(InvalidArgument):
    """A quantity or price is not a whole number of the symbol's steps."""

    reason = "PRECISION_EXCEEDED"


class NotionalTooSmall(InvalidArgument):
    """The order is worth less than the symbol allows."""

    reason = "NOTIONAL_TOO_SMALL"


class InsufficientFunds(FailedPrecondition):
    """The order costs more than is free."""

    reason = "INSUFFICIENT_FUNDS"


class InsufficientPosition(FailedPrecondition):
    """The order sells more than is free."""

    reason = "INSUFFICIENT_POSITION"


class StaleMarketData(FailedPrecondition):
    """The market price is unknown or too old to trade on."""

    reason = "STALE_MARKET_DATA"


class OrderClosed(FailedPrecondition):
    """The order has filled, so there is nothing left to cancel."""

    reason = "ORDER_CLOSED"


class StrategyBusy(FailedPrecondition):
    """The strategy runs for another account."""

    reason = "STRATEGY_BUSY"


class MarketDataUnavailable(DependencyUnavailable):
    """Market data has not been reached since the start."""

    def __init__(self, message: str) -> None:
        super().__init__(message, part="marketdata")
