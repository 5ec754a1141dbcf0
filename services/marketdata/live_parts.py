"""Puts the parts of live data together."""

from collections.abc import Mapping

from services.marketdata.books import Books
from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Interval
from services.marketdata.domain.ticker import TickerBoard
from services.marketdata.ports.candle_reader import CandleReader
from services.marketdata.ports.trade_history import TradeHistory
from services.marketdata.servicers.streams import Streams
from services.marketdata.streams.derived import LiveIndicators, Tickers
from services.marketdata.streams.forming import LiveForming
from services.marketdata.streams.live import Live
from services.marketdata.streams.marks import Marks
from services.marketdata.use_cases.indicators import GetIndicators
from services.runtime.broadcast import Broadcast


def open_streams(
    catalog: Catalog,
    board: TickerBoard,
    get_indicators: GetIndicators,
    trades: Broadcast,
    candles: Mapping[Interval, Broadcast],
    books: tuple[Broadcast, Books],
    history: TradeHistory,
    stored: CandleReader,
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
        LiveForming(marks, trades, candles, history, stored),
        LiveIndicators(get_indicators),
    )
    return Streams(live)
