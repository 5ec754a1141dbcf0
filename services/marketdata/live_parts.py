"""Puts the parts of live data together."""

from collections.abc import Callable, Mapping, Sequence

from levimesh.marketdata.v1 import trade_pb2
from services.marketdata import converters as convert
from services.marketdata import stream_converters
from services.marketdata.books import Books
from services.marketdata.catalog import Catalog
from services.marketdata.domain.forming import FormingCandles
from services.marketdata.domain.market import Interval
from services.marketdata.domain.ticker import TickerBoard
from services.marketdata.servicers.streams import Streams
from services.marketdata.streams.derived import LiveForming, LiveIndicators, Tickers
from services.marketdata.streams.live import Live
from services.marketdata.streams.marks import Marks
from services.marketdata.use_cases.indicators import GetIndicators
from services.runtime.broadcast import Broadcast
from services.runtime.journal import Entry


def open_streams(
    catalog: Catalog,
    board: TickerBoard,
    forming: FormingCandles,
    get_indicators: GetIndicators,
    trades: Broadcast,
    candles: Mapping[Interval, Broadcast],
    books: tuple[Broadcast, Books],
) -> Streams:
    """The streams of a replica. What they make of ``trades`` they make after all that listens to them by now."""
    books_broadcast, memory = books
    marks = Marks(trades)
    live = Live(
        catalog,
        trades,
        candles,
        books_broadcast,
        memory.snapshot,
        Tickers(board, marks),
        LiveForming(forming, marks, candles),
        LiveIndicators(get_indicators),
    )
    return Streams(live)


def feed_forming(forming: FormingCandles, trades: Broadcast, candles: Mapping[Interval, Broadcast]) -> None:
    """Let ``forming`` follow what is published."""
    trades.listen(_trades_into(forming))
    for broadcast in candles.values():
        broadcast.listen(_candles_into(forming))


def _trades_into(forming: FormingCandles) -> Callable[[Sequence[Entry]], None]:
    def came(entries: Sequence[Entry]) -> None:
        for entry in entries:
            for trade in trade_pb2.TradeBatch.FromString(entry.event).trades:
                forming.add_trade(convert.trade_from_pb(trade))

    return came


def _candles_into(forming: FormingCandles) -> Callable[[Sequence[Entry]], None]:
    def came(entries: Sequence[Entry]) -> None:
        for entry in entries:
            for candle in stream_converters.candles_of(entry):
                forming.add_candle(convert.candle_from_pb(candle))

    return came
