"""Puts together what a replica does for one source."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.marketdata.book_parts import BookParts
from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Channel, Symbol
from services.marketdata.feeding.catalog_follower import CatalogFollower
from services.marketdata.feeding.feed import Feed, FeedTimes
from services.marketdata.feeding.feed import Work as FeedWork
from services.marketdata.feeding.leadership import Leadership
from services.marketdata.feeding.quarantine_recorder import QuarantineRecorder
from services.marketdata.feeding.rate_feed import RateFeed
from services.marketdata.feeding.trade_recorder import TradeRecorder
from services.marketdata.feeding.trade_writer import TradeWriter
from services.marketdata.feeding.watched_source import WatchedSource
from services.marketdata.keeping.candle_keeper import CandleKeeper
from services.marketdata.keeping.candles import Keeping
from services.marketdata.ports.leases import Lease, Leases
from services.marketdata.ports.rates import RateStore
from services.marketdata.ports.sources import Source
from services.marketdata.sources import OpenRateSource, OpenSource
from services.marketdata.stores import Stores
from services.runtime.clock import utc_now

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Replica:
    """What the sources of a replica have in common."""

    name: str
    leases: Leases
    stores: Stores
    catalog: Catalog
    symbols: CatalogFollower
    writer: TradeWriter
    keeping: Keeping
    books: BookParts
    quarantine: QuarantineRecorder


@dataclass(frozen=True)
class SourceParts:
    """A source of market data, ready to be led."""

    source: WatchedSource
    feed: Feed
    work: Mapping[str, Work]
    """What runs in the background, by name."""


def lead_source(opened: OpenSource, replica: Replica, works: Callable[[Source], Sequence[FeedWork]]) -> SourceParts:
    """What leads a source whenever no other replica does; ``works`` are done meanwhile, too."""
    settings, source = opened.settings, WatchedSource(opened.source, utc_now)
    recorder = TradeRecorder(replica.writer, replica.quarantine, source.name)

    def keeper_of(symbol: Symbol, lease: Lease) -> CandleKeeper:
        return replica.keeping.keeper(source, symbol, lease, lambda: recorder.is_empty)

    books = [_books(replica.books, source)] if Channel.BOOKS in source.channels else []
    feed = Feed(
        source,
        replica.symbols.report,
        replica.catalog,
        recorder,
        keeper_of,
        replica.stores.states,
        lambda: replica.quarantine.count(source.name),
        FeedTimes(timedelta(seconds=settings.settle_seconds), settings.silent_seconds),
        [*books, *works(source)],
    )
    replica.writer.observers.append(feed.stored)
    leadership = Leadership(source.name, replica.name, replica.leases, feed.lead)
    work = {f"{source.name} trade recorder": recorder.run, f"{source.name} feed": leadership.run}
    return SourceParts(source, feed, work)


def lead_rates(opened: OpenRateSource, replica: Replica, store: RateStore) -> Mapping[str, Work]:
    """What has to run to lead a source of rates whenever no other replica does."""
    name = opened.source.name
    feed = RateFeed(opened.source, store, replica.stores.states, opened.poll_seconds, utc_now)
    return {f"{name} feed": Leadership(name, replica.name, replica.leases, feed.lead).run}


def _books(parts: BookParts, source: WatchedSource) -> FeedWork:
    feed = parts.feed_of(source)

    async def follow_books(lease: Lease, keepers: Callable[[], Iterable[CandleKeeper]]) -> None:  # noqa: ARG001 - Work
        await feed.run(lease)

    return follow_books
