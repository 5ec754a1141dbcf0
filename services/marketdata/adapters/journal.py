"""Publishes on the journal."""

from collections.abc import Sequence

from services.marketdata import converters as convert
from services.marketdata.domain.market import Candle, Interval, Trade
from services.runtime.journal import Journal

TRADES = "marketdata.trades"
"""Topic of trades: an event is a TradeBatch of the symbol that is its key."""
CANDLES = {
    Interval.ONE_MINUTE: "marketdata.candles.1m",
    Interval.FIVE_MINUTES: "marketdata.candles.5m",
}
"""Topics of candles: an event is a Candle of the symbol that is its key."""


class JournalPublisher:
    """Implements Publisher."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def trades(self, trades: Sequence[Trade]) -> None:
        by_symbol: dict[str, list[Trade]] = {}
        for trade in trades:
            by_symbol.setdefault(trade.symbol, []).append(trade)
        events = [(symbol, convert.trades_to_pb(batch).SerializeToString()) for symbol, batch in by_symbol.items()]
        await self._journal.append(TRADES, events)

    async def candles(self, candles: Sequence[Candle]) -> None:
        events = [(candle.symbol, convert.candle_to_pb(candle).SerializeToString()) for candle in candles]
        await self._journal.append(CANDLES[candles[0].interval], events)
