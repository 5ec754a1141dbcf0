"""Puts the parts of the service together; what differs between a process and a test is passed in."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from services.marketdata.adapters.gaps import PostgresGaps
from services.marketdata.adapters.journal import CANDLES, TRADES, candle_listener, trade_lines, trade_listener
from services.marketdata.adapters.lines import PostgresLines
from services.marketdata.adapters.postgres import PostgresStore
from services.marketdata.adapters.quarantine import PostgresQuarantine
from services.marketdata.adapters.trade_history import PostgresTradeHistory
from services.marketdata.adapters.trades import PostgresTrades
from services.marketdata.book_parts import open_books
from services.marketdata.candles import CandlePublishers, Keeping
from services.marketdata.catalog import Catalog
from services.marketdata.domain.forming import FormingCandles
from services.marketdata.domain.market import Candle, Interval
from services.marketdata.domain.ticker import TickerBoard
from services.marketdata.feed import Feed
from services.marketdata.line_publisher import LinePublisher
from services.marketdata.live_parts import feed_forming, open_streams
from services.marketdata.ports.sources import Source
from services.marketdata.quarantine_recorder import QuarantineMetrics, QuarantineRecorder
from services.marketdata.servicers.books import OrderBookServicer
from services.marketdata.servicers.marketdata import MarketDataServicer
from services.marketdata.servicers.queries import Queries
from services.marketdata.settings import MarketDataSettings
from services.marketdata.trade_recorder import TradeRecorder
from services.marketdata.trade_writer import TradeWriter
from services.marketdata.use_cases.candles import GetCandles, GetLocalDays
from services.marketdata.use_cases.indicators import GetIndicators
from services.marketdata.use_cases.memory import load_memory
from services.marketdata.use_cases.prices import GetTicker, GetTickers
from services.marketdata.use_cases.trades import ListTrades
from services.runtime.broadcast import Broadcast
from services.runtime.clock import utc_now
from services.runtime.database import ping
from services.runtime.health import Health, watch
from services.runtime.journal import RedisJournal

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class MarketData:
    """The service, ready to run."""

    servicer: MarketDataServicer
    books: OrderBookServicer
    work: Mapping[str, Work]
    """What runs in the background, by name; all of it has to run."""


def build(
    settings: MarketDataSettings, engine: AsyncEngine, journal: RedisJournal, source: Source, health: Health
) -> MarketData:
    """The service on these connections.

    What is stored is served while the database holds; the parts redis, feed and history only tell what cannot go on.
    """
    store, lines = PostgresStore(engine), PostgresLines(engine)
    catalog, board = Catalog(), TickerBoard()
    stored_trades = PostgresTrades(engine)
    trade_publisher = LinePublisher(trade_lines(stored_trades), journal, lines)
    quarantine = QuarantineRecorder(PostgresQuarantine(engine), QuarantineMetrics(), timedelta(days=30), utc_now)
    writer = TradeWriter(stored_trades, trade_publisher)
    recorder = TradeRecorder(writer, quarantine, source.name)
    history = PostgresTradeHistory(engine)
    candle_publishers = CandlePublishers(store, journal, lines)

    def added(candles: Sequence[Candle]) -> None:
        candle_publishers.offer(candles)
        for candle in candles:
            board.add_candle(candle)

    keeping = Keeping(
        stored_trades,
        store,
        PostgresGaps(engine),
        added,
        {interval: timedelta(days=settings.history_days(interval)) for interval in Interval},
        timedelta(days=settings.trades_kept_days),
        utc_now,
    )

    feed = Feed(
        source,
        store,
        stored_trades,
        catalog,
        recorder,
        lambda symbol: keeping.keeper(source, symbol, recorder.lease, lambda: recorder.is_empty),
        health.part("feed", gates=False),
        health.part("history", gates=False),
        timedelta(seconds=settings.settle_seconds),
    )

    writer.observers.append(feed.stored)

    async def follow_source() -> None:
        await load_memory(store, history, catalog, board)
        await feed.run()

    queries = Queries(
        catalog,
        GetCandles(catalog, store),
        GetLocalDays(catalog, store),
        ListTrades(catalog, history),
        GetTicker(catalog, board),
        GetTickers(catalog, board),
        feed.progress,
    )
    books = open_books(engine, journal, catalog, settings.book_times(), timedelta(days=settings.books_kept_days))
    trades = Broadcast(journal, TRADES)
    trades.listen(trade_listener(board.add_trade))
    candles = {interval: Broadcast(journal, topic) for interval, topic in CANDLES.items()}
    candles[Interval.ONE_MINUTE].listen(candle_listener(board.add_candle))
    forming, get_indicators = FormingCandles(), GetIndicators(catalog, store)
    feed_forming(forming, trades, candles)
    kept = timedelta(days=settings.trades_kept_days), {interval: settings.kept(interval) for interval in Interval}
    return MarketData(
        MarketDataServicer(
            queries,
            get_indicators,
            open_streams(catalog, board, forming, get_indicators, trades, candles, (books.broadcast, books.books)),
        ),
        books.servicer,
        {
            "feed": follow_source,
            "trade recorder": recorder.run,
            "trade publisher": trade_publisher.run,
            "quarantine": quarantine.run,
            **candle_publishers.work(lambda: [symbol.symbol for symbol in catalog.all()]),
            "retention": partial(feed.drop_expired, *kept),
            "trades broadcast": trades.run,
            **{f"{interval.value} s candles broadcast": broadcast.run for interval, broadcast in candles.items()},
            **books.work,
            "books feed": partial(books.feed_of(source).run, None),
            "database health": partial(watch, health.part("database"), partial(ping, engine), 1.0),
            "redis health": partial(watch, health.part("redis", gates=False), journal.ping, 1.0),
        },
    )
