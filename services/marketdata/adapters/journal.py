"""Publishes on the journal."""

from collections.abc import Callable, Sequence

from levimesh.marketdata.v1 import candle_pb2, trade_pb2
from services.marketdata.converters import market as convert
from services.marketdata.domain.market import Candle, Interval, Trade
from services.marketdata.feeding.line_publisher import LineKind
from services.marketdata.ports.candles import CandleStore, candles_line
from services.marketdata.ports.lines import trades_line
from services.marketdata.ports.trades import TradeStore
from services.runtime.journal import Entry, LineEntry

TRADES = "marketdata.trades"
"""Topic of trades: an event is a TradeBatch of the symbol that is its key."""
CANDLES = {
    Interval.ONE_SECOND: "marketdata.candles.1s",
    Interval.FIVE_SECONDS: "marketdata.candles.5s",
    Interval.ONE_MINUTE: "marketdata.candles.1m",
    Interval.FIVE_MINUTES: "marketdata.candles.5m",
    Interval.FIFTEEN_MINUTES: "marketdata.candles.15m",
    Interval.ONE_HOUR: "marketdata.candles.1h",
    Interval.FOUR_HOURS: "marketdata.candles.4h",
    Interval.ONE_DAY: "marketdata.candles.1d",
}
"""Topics of candles: an event is a Candle of the symbol that is its key."""


def trade_lines(store: TradeStore) -> LineKind[Trade]:
    """The lines of trades in ``store``."""
    return LineKind(TRADES, trades_line, store.after, _trade_entries)


def _trade_entries(symbol: str, trades: Sequence[Trade]) -> list[LineEntry]:
    event = convert.trades_to_pb(trades).SerializeToString()
    return [LineEntry(symbol, event, trades[0].sequence, trades[-1].sequence)]


def candle_lines(interval: Interval, store: CandleStore) -> LineKind[Candle]:
    """The lines of candles of ``interval`` in ``store``."""

    async def after(symbol: str, sequence: int, limit: int) -> list[Candle]:
        return await store.in_line(symbol, interval, sequence, limit)

    return LineKind(CANDLES[interval], lambda symbol: candles_line(symbol, interval), after, _candle_entries)


def _candle_entries(symbol: str, candles: Sequence[Candle]) -> list[LineEntry]:
    return [
        LineEntry(symbol, convert.candle_to_pb(candle).SerializeToString(), candle.sequence, candle.sequence)
        for candle in candles
    ]


def candle_listener(take_in: Callable[[Candle], None]) -> Callable[[Sequence[Entry]], None]:
    """Gives the candle of each entry of a topic to ``take_in``."""

    def listen(entries: Sequence[Entry]) -> None:
        for entry in entries:
            take_in(convert.candle_from_pb(candle_pb2.Candle.FromString(entry.event)))

    return listen


def trade_listener(take_in: Callable[[Trade], None]) -> Callable[[Sequence[Entry]], None]:
    """Gives the newest trade, by its time, of each entry of the topic to ``take_in``."""

    def listen(entries: Sequence[Entry]) -> None:
        for entry in entries:
            batch = trade_pb2.TradeBatch.FromString(entry.event)
            take_in(convert.trade_from_pb(max(batch.trades, key=_moment)))

    return listen


def _moment(trade: trade_pb2.Trade) -> tuple[int, int, int]:
    return trade.trade_time.seconds, trade.trade_time.nanos, trade.sequence
