"""The one way of trades into the store and the journal."""

from collections.abc import Callable, Sequence

from services.marketdata.domain.market import Trade
from services.marketdata.feeding.line_publisher import LinePublisher
from services.marketdata.ports.leases import Lease
from services.marketdata.ports.trades import Stored, TradeStore


class TradeWriter:
    """Stores trades, wherever they come from, and has those published that are new."""

    def __init__(self, store: TradeStore, publisher: LinePublisher[Trade]) -> None:
        self.observers: list[Callable[[str, Sequence[Trade]], None]] = []
        """Told the new trades of a symbol once they are stored."""
        self._store = store
        self._publisher = publisher

    async def __call__(self, trades: Sequence[Trade], lease: Lease | None) -> Stored:
        """Store ``trades`` as TradeStore.add does; what is new is on its way to the journal when this returns."""
        stored = await self._store.add(trades, lease)
        by_symbol: dict[str, list[Trade]] = {}
        for trade in stored.new:
            by_symbol.setdefault(trade.symbol, []).append(trade)
        for symbol, new in by_symbol.items():
            self._publisher.offer(symbol, new)
            for observe in self.observers:
                observe(symbol, new)
        return stored
