"""Publishes on the journal."""

from collections.abc import Callable, Sequence

from levimesh.marketdata.v1 import trade_pb2
from services.marketdata import converters as convert
from services.marketdata.domain.market import Candle, Interval, Trade
from services.marketdata.line_publisher import LineKind
from services.marketdata.ports.lines import trades_line
from services.marketdata.ports.trades import TradeStore
from services.runtime.journal import Entry, Journal, LineEntry

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

    async def candles(self, candles: Sequence[Candle]) -> None:
        events = [(candle.symbol, convert.candle_to_pb(candle).SerializeToString()) for candle in candles]
        await self._journal.append(CANDLES[candles[0].interval], events)


def trade_lines(store: TradeStore) -> LineKind[Trade]:
    """The lines of trades in ``store``."""
    return LineKind(TRADES, trades_line, store.after, _trade_entries)


def _trade_entries(symbol: str, trades: Sequence[Trade]) -> list[LineEntry]:
    event = convert.trades_to_pb(trades).SerializeToString()
    return [LineEntry(symbol, event, trades[0].sequence, trades[-1].sequence)]


def trade_listener(take_in: Callable[[Trade], None]) -> Callable[[Sequence[Entry]], None]:
    """Gives the newest trade, by its time, of each entry of the topic to ``take_in``."""

    def listen(entries: Sequence[Entry]) -> None:
        for entry in entries:
            batch = trade_pb2.TradeBatch.FromString(entry.event)
            take_in(convert.trade_from_pb(max(batch.trades, key=_moment)))

    return listen


def _moment(trade: trade_pb2.Trade) -> tuple[int, int, int]:
    return trade.trade_time.seconds, trade.trade_time.nanos, trade.sequence
