"""What callers of marketdata can be told."""

from services.runtime.errors import FailedPrecondition, NotFound


class SymbolNotFound(NotFound):
    """There is no such symbol."""

    reason = "SYMBOL_NOT_FOUND"


class NoMarketData(FailedPrecondition):
    """The symbol has not traded yet."""

    reason = "NO_MARKET_DATA"
