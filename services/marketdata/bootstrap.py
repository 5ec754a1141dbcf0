"""Puts the parts of the service together; what differs between a process and a test is passed in."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from google.protobuf.descriptor import ServiceDescriptor
from sqlalchemy.ext.asyncio import AsyncEngine

from services.marketdata.adapters.ingest_source import IngestSource
from services.marketdata.adapters.journal import CANDLES, TRADES, candle_listener, trade_lines, trade_listener
from services.marketdata.adapters.rates import PostgresRates
from services.marketdata.adapters.symbol_journal import SYMBOLS, JournalSymbolNews
from services.marketdata.book_parts import open_books
from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import AssetType, Candle, Interval, SourceKind
from services.marketdata.domain.series import Progress
from services.marketdata.domain.ticker import TickerBoard
from services.marketdata.feeding.catalog_follower import CatalogFollower
from services.marketdata.feeding.line_publisher import LinePublisher
from services.marketdata.feeding.quarantine_recorder import QuarantineRecorder
from services.marketdata.feeding.source_parts import Replica, SourceParts, lead_rates, lead_source
from services.marketdata.feeding.source_work import follow_statuses
from services.marketdata.feeding.trade_writer import TradeWriter
from services.marketdata.keeping.candles import CandlePublishers, Keeping, fetched
from services.marketdata.keeping.history_progress import HistoryProgress
from services.marketdata.keeping.repairs import RepairParts
from services.marketdata.keeping.retention import drop_expired, make_ahead
from services.marketdata.live_parts import open_streams
from services.marketdata.ports.leases import Leases
from services.marketdata.service_parts import Answering
from services.marketdata.settings import MarketDataSettings
from services.marketdata.source_settings import IngestSettings
from services.marketdata.sources import OpenRateSource, OpenSource
from services.marketdata.stores import Stores
from services.marketdata.use_cases.indicators import GetIndicators
from services.marketdata.use_cases.memory import Memory
from services.runtime.broadcast import Broadcast
from services.runtime.clock import utc_now
from services.runtime.database import ping
from services.runtime.health import Health, watch
from services.runtime.journal import RedisJournal

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Connections:
    """What a replica is connected to."""

    engine: AsyncEngine
    leases: Leases
    """On connections of their own, so that renewing a lease waits for nobody."""
    journal: RedisJournal


@dataclass(frozen=True)
class MarketData:
    """A replica of the service, ready to run."""

    services: Mapping[ServiceDescriptor, object]
    work: Mapping[str, Work]
    """What runs in the background, by name; all of it has to run."""


def build(
    settings: MarketDataSettings,
    connections: Connections,
    sources: Sequence[OpenSource | OpenRateSource],
    quarantine: QuarantineRecorder,
    health: Health,
) -> MarketData:
    """The service on these connections, with ``sources`` that refuse rows into ``quarantine``.

    What is stored is served while the database holds; the other parts of the health only tell what cannot go on.
    """
    engine, journal = connections.engine, connections.journal
    stores, catalog, board, news = Stores.on(engine), Catalog(), TickerBoard(), JournalSymbolNews(journal)
    symbols = CatalogFollower(catalog, stores.symbols, news)
    trade_publisher = LinePublisher(trade_lines(stores.trades), journal, stores.lines)
    writer = TradeWriter(stores.trades, trade_publisher)
    candle_publishers = CandlePublishers(stores.candles, journal, stores.lines)
    books = open_books(engine, journal, catalog, settings.book_times(), timedelta(days=settings.books_kept_days))

    def added(candles: Sequence[Candle]) -> None:
        candle_publishers.offer(candles)
        for candle in candles:
            board.add_candle(candle)

    memory = Memory(stores, catalog, board)
    repairs = RepairParts(engine, catalog, stores.candles, writer, added, utc_now)
    keeping = _keeping(settings, stores, added)
    replica = Replica(
        settings.replica, connections.leases, stores, catalog, symbols, writer, keeping, books, quarantine
    )
    led = {
        opened.source.name: lead_source(opened, replica, repairs.works)
        for opened in sources
        if isinstance(opened, OpenSource)
    }

    histories = HistoryProgress(
        {name: fetched(parts.source) for name, parts in led.items()},
        lambda name: led[name].feed.is_leading,
        stores.states,
        stores.candles,
        catalog,
    )

    trades, symbol_news = Broadcast(journal, TRADES), Broadcast(journal, SYMBOLS)
    candles = {interval: Broadcast(journal, topic) for interval, topic in CANDLES.items()}
    trades.listen(trade_listener(board.add_trade))
    candles[Interval.ONE_MINUTE].listen(candle_listener(board.add_candle))
    symbol_news.listen(symbols.hear)
    get_indicators = GetIndicators(catalog, stores.candles)
    answering = Answering(
        engine,
        stores,
        catalog,
        board,
        news,
        writer,
        quarantine,
        repairs,
        {name: parts.source for name, parts in led.items()},
        _kinds(sources),
        {
            opened.settings.name: opened.settings
            for opened in sources
            if isinstance(opened, OpenSource) and isinstance(opened.settings, IngestSettings)
        },
        settings.retention(),
        lambda: _progress(led, histories),
    )
    streams = open_streams(
        catalog, board, get_indicators, trades, candles, (books.broadcast, books.books), stores.history, stores.candles
    )

    def names() -> list[str]:
        return [symbol.symbol for symbol in catalog.all()]

    async def follow_symbols() -> None:
        await memory.load()
        await symbols.run()

    work: dict[str, Work] = {
        "symbols": follow_symbols,
        "memory": memory.run,
        "histories": histories.run,
        "trade publisher": trade_publisher.run,
        "trade lines": partial(trade_publisher.watch_over, names),
        **candle_publishers.work(names),
        "trades broadcast": trades.run,
        "symbols broadcast": symbol_news.run,
        **{f"{interval.value} s candles broadcast": broadcast.run for interval, broadcast in candles.items()},
        **books.work,
        "quarantine": quarantine.run,
        "quarantine retention": quarantine.drop_expired,
        **_retention(settings, stores, _kinds(sources)),
        "partitions ahead": partial(
            make_ahead, list(_kinds(sources)), stores.states, (stores.trades, stores.candles, books.store)
        ),
        **_health(connections, stores, _kinds(sources), health),
    }
    for parts in led.values():
        work |= parts.work
    for opened in sources:
        if isinstance(opened, OpenRateSource):
            work |= lead_rates(opened, replica, PostgresRates(engine))
        elif isinstance(opened.source, IngestSource):
            trades.listen(trade_listener(opened.source.hear))
    return MarketData(answering.services(get_indicators, streams, books.servicer), work)


def _keeping(settings: MarketDataSettings, stores: Stores, publish: Callable[[Sequence[Candle]], None]) -> Keeping:
    return Keeping(
        stores.trades,
        stores.candles,
        stores.gaps,
        publish,
        {interval: timedelta(days=settings.history_days(interval)) for interval in Interval},
        timedelta(days=settings.trades_kept_days),
    )


def _kinds(sources: Sequence[OpenSource | OpenRateSource]) -> dict[str, tuple[SourceKind, AssetType]]:
    return {
        opened.source.name: (
            opened.source.kind,
            opened.source.asset_type if isinstance(opened, OpenSource) else AssetType.FX,
        )
        for opened in sources
    }


def _progress(led: Mapping[str, SourceParts], histories: HistoryProgress) -> list[Progress]:
    return [
        progress
        for name, parts in led.items()
        for progress in (parts.feed.progress() if parts.feed.is_leading else histories.of(name))
    ]


def _retention(settings: MarketDataSettings, stores: Stores, names: Mapping[str, object]) -> dict[str, Work]:
    candles_kept = {interval: settings.kept(interval) for interval in Interval}
    trades_kept = timedelta(days=settings.trades_kept_days)
    return {
        "retention": partial(
            drop_expired, list(names), stores.states, stores.trades, stores.candles, trades_kept, candles_kept
        )
    }


def _health(connections: Connections, stores: Stores, names: Mapping[str, object], health: Health) -> dict[str, Work]:
    parts = {
        name: (health.part(f"feed:{name}", gates=False), health.part(f"history:{name}", gates=False)) for name in names
    }
    return {
        "database health": partial(watch, health.part("database"), partial(ping, connections.engine), 1.0),
        "redis health": partial(watch, health.part("redis", gates=False), connections.journal.ping, 1.0),
        "sources health": partial(follow_statuses, stores.states, parts),
    }
