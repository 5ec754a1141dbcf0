"""Puts the parts of order books together."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from services.marketdata.adapters.book_journal import BOOKS, book_lines, listener
from services.marketdata.adapters.books import PostgresBooks
from services.marketdata.adapters.lines import PostgresLines
from services.marketdata.books import Books
from services.marketdata.catalog import Catalog
from services.marketdata.feeding.book_feed import BookFeed
from services.marketdata.feeding.book_keeper import BookTimes
from services.marketdata.feeding.line_publisher import LinePublisher
from services.marketdata.ports.books import BookStore
from services.marketdata.ports.sources import Source
from services.marketdata.servicers.books import OrderBookServicer
from services.marketdata.use_cases.books import GetBookVwap, GetOrderBook
from services.runtime.broadcast import Broadcast
from services.runtime.clock import utc_now
from services.runtime.journal import RedisJournal

_log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]

_SNAPSHOTS_MISSED = 3
"""A book that was not told as a whole for so many times is followed by nobody."""
_RETENTION_SECONDS = 60.0


@dataclass(frozen=True)
class BookParts:
    """The order books of a replica."""

    books: Books
    store: PostgresBooks
    broadcast: Broadcast
    """What the leaders of all sources tell; its events reach ``books`` first."""
    servicer: OrderBookServicer
    feed_of: Callable[[Source], BookFeed]
    """Makes what gathers the books of a source while this replica leads it."""
    work: Mapping[str, Work]
    """What runs in the background, by name; all of it has to run."""


def open_books(
    engine: AsyncEngine, journal: RedisJournal, catalog: Catalog, times: BookTimes, kept: timedelta
) -> BookParts:
    """The order books on these connections; they are dropped when they are older than ``kept``."""
    store, broadcast = PostgresBooks(engine), Broadcast(journal, BOOKS)
    publisher = LinePublisher(book_lines(store), journal, PostgresLines(engine))
    books = Books(store, broadcast.vouch, _SNAPSHOTS_MISSED * times.snapshot_seconds, utc_now)
    broadcast.listen(listener(books.take_in))
    feeds: list[BookFeed] = []

    def feed_of(source: Source) -> BookFeed:
        feed = BookFeed(source, catalog.all, store, publisher.offer, times, utc_now)
        feeds.append(feed)
        return feed

    def followed() -> list[str]:
        return [symbol.symbol for symbol in catalog.all() if symbol.book_depth]

    servicer = OrderBookServicer(GetOrderBook(catalog, books), GetBookVwap(catalog, books))
    work: dict[str, Work] = {
        "books broadcast": broadcast.run,
        "books": books.run,
        "books publisher": publisher.run,
        "books left behind": partial(publisher.watch_over, followed),
        "books retention": partial(_drop_expired, store, lambda: [feed.newest for feed in feeds], kept),
    }
    return BookParts(books, store, broadcast, servicer, feed_of, work)


async def _drop_expired(store: BookStore, newest: Callable[[], list[datetime | None]], kept: timedelta) -> None:
    """Drop old books for ever, by the clocks of the sources that are gathered here."""
    while True:
        if times := [time for time in newest() if time is not None]:
            try:
                await store.drop_expired(min(times) - kept)
            except Exception as error:  # noqa: BLE001 - whatever fails is told, and tried again
                _log.warning("old books not dropped", extra={"problem": repr(error)})
        await asyncio.sleep(_RETENTION_SECONDS)
