"""Puts the parts of the service together; what differs between a process and a test is passed in."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from services.marketdata.adapters.journal import CANDLES, TRADES, JournalPublisher, trade_lines, trade_listener
from services.marketdata.adapters.lines import PostgresLines
from services.marketdata.adapters.postgres import PostgresStore
from services.marketdata.adapters.quarantine import PostgresQuarantine
from services.marketdata.adapters.trade_history import PostgresTradeHistory
from services.marketdata.adapters.trades import PostgresTrades
from services.marketdata.book_parts import open_books
from services.marketdata.candle_keeper import CandleKeeper
from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Symbol
from services.marketdata.domain.ticker import TickerBoard
from services.marketdata.feed import Feed
from services.marketdata.line_publisher import LinePublisher
from services.marketdata.ports.sources import Source
from services.marketdata.quarantine_recorder import QuarantineMetrics, QuarantineRecorder
from services.marketdata.servicers.books import OrderBookServicer
from services.marketdata.servicers.marketdata import MarketDataServicer
from services.marketdata.servicers.queries import Queries
from services.marketdata.settings import MarketDataSettings
from services.marketdata.trade_recorder import TradeRecorder
from services.marketdata.trade_writer import TradeWriter
from services.marketdata.use_cases.candles import GetCandles, GetLocalDays
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
    store, publisher = PostgresStore(engine), JournalPublisher(journal)
    catalog, board = Catalog(), TickerBoard()
    stored_trades = PostgresTrades(engine)
    trade_publisher = LinePublisher(trade_lines(stored_trades), journal, PostgresLines(engine))
    quarantine = QuarantineRecorder(PostgresQuarantine(engine), QuarantineMetrics(), timedelta(days=30), utc_now)
    recorder = TradeRecorder(TradeWriter(stored_trades, trade_publisher), quarantine, source.name)
    history = PostgresTradeHistory(engine)

    def keepers_of(symbol: Symbol) -> list[CandleKeeper]:
        spans = {interval: timedelta(days=settings.history_days(interval)) for interval in CANDLES}
        return [
            CandleKeeper(symbol, interval, span, source, store, publisher, board) for interval, span in spans.items()
        ]

    feed = Feed(
        source,
        store,
        stored_trades,
        catalog,
        recorder,
        keepers_of,
        health.part("feed", gates=False),
        health.part("history", gates=False),
        timedelta(seconds=settings.settle_seconds),
    )

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
    kept = timedelta(days=settings.trades_kept_days), timedelta(days=settings.candles_kept_days)
    return MarketData(
        MarketDataServicer(catalog, queries, trades, candles),
        books.servicer,
        {
            "feed": follow_source,
            "trade recorder": recorder.run,
            "trade publisher": trade_publisher.run,
            "quarantine": quarantine.run,
            "retention": partial(feed.drop_expired, *kept),
            "trades broadcast": trades.run,
            **{f"{interval.value} s candles broadcast": broadcast.run for interval, broadcast in candles.items()},
            **books.work,
            "books feed": partial(books.feed_of(source).run, None),
            "database health": partial(watch, health.part("database"), partial(ping, engine), 1.0),
            "redis health": partial(watch, health.part("redis", gates=False), journal.ping, 1.0),
        },
    )
