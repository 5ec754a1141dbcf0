"""What a strategy is."""

from typing import Protocol

from services.trading.domain.markets import Price, Signal, Symbol
from services.trading.domain.orders import OrderTerms
from services.trading.domain.portfolios import Portfolio


class Strategy(Protocol):
    """Turns signals into order intents. It decides and does nothing else: no clock, no input, no output."""

    @property
    def name(self) -> str:
        """Its name in the contract."""

    @property
    def description(self) -> str:
        """What it does, in a sentence."""

    def on_signal(self, signal: Signal, portfolio: Portfolio, symbol: Symbol, price: Price) -> OrderTerms | None:
        """The order to submit, or None.

        ``portfolio`` is the account that it trades for; ``symbol`` and ``price`` are those of the signal.
        """
