"""The books in the memory of a replica."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import pytest

from services.marketdata.books import Books
from services.marketdata.domain.book import BookSnapshot
from services.marketdata.errors import BookNotAvailable
from services.runtime.errors import DependencyUnavailable
from tests.unit.marketdata.books import RememberedBooks, a_delta, a_snapshot
from tests.unit.marketdata.builders import BTC, at

SNAPSHOT = a_snapshot(10, {"99": "1"}, {"101": "3"}, sequence=1)
DELTA = a_delta(11, 12, {"98": "2"}, {}, 1, sequence=2)
BOTH = a_snapshot(12, {"99": "1", "98": "2"}, {"101": "3"}, 1, sequence=2)


class Journal:
    """Whether the journal is there."""

    is_away = False

    def vouch(self) -> None:
        if self.is_away:
            raise DependencyUnavailable("it is away", part="redis")


@asynccontextmanager
async def memory(
    store: RememberedBooks, journal: Journal | None = None, stale_seconds: float = 60, now: datetime | None = None
) -> AsyncIterator[Books]:
    """The memory of a replica that has loaded what is stored."""
    moment = now or at(2)
    books = Books(store, (journal or Journal()).vouch, stale_seconds, lambda: moment)
    task = asyncio.create_task(books.run())
    await asyncio.sleep(0.01)
    try:
        yield books
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def is_at(book: BookSnapshot, expected: BookSnapshot) -> bool:
    return (book, book.sequence) == (expected, expected.sequence)


async def test_what_is_told_makes_the_book() -> None:
    async with memory(RememberedBooks()) as books:
        with pytest.raises(BookNotAvailable, match="nothing was heard of it yet"):
            books.snapshot(BTC)
        books.take_in([SNAPSHOT])
        assert is_at(books.snapshot(BTC), SNAPSHOT)
        books.take_in([DELTA, SNAPSHOT, DELTA])
        assert is_at(books.snapshot(BTC), BOTH)


async def test_a_replica_that_starts_has_the_stored_book_and_goes_on_with_what_is_told() -> None:
    store = RememberedBooks()
    await store.add([SNAPSHOT], None)
    async with memory(store) as books:
        assert is_at(books.snapshot(BTC), SNAPSHOT)
        books.take_in([DELTA])
        assert is_at(books.snapshot(BTC), BOTH)


async def test_events_that_were_missed_are_read_from_the_store() -> None:
    store = RememberedBooks()
    async with memory(store) as books:
        await store.add([SNAPSHOT, DELTA, a_delta(13, 13, {"99": "5"}, {}, 2)], None)
        books.take_in([store.events[0]])
        books.take_in([store.events[2]])
        with pytest.raises(BookNotAvailable, match="synchronised"):
            books.snapshot(BTC)
        await asyncio.sleep(0.01)
        expected = a_snapshot(13, {"99": "5", "98": "2"}, {"101": "3"}, 2, sequence=3)
        assert is_at(books.snapshot(BTC), expected)


async def test_a_line_that_goes_on_from_an_earlier_number_is_followed_from_its_next_whole_book() -> None:
    store = RememberedBooks()
    async with memory(store) as books:
        books.take_in([SNAPSHOT, DELTA, replace(DELTA, sequence=3)])
        later = a_snapshot(30, {"97": "1"}, {"103": "3"}, 9, sequence=2)
        books.take_in([replace(DELTA, sequence=1), later])
        assert is_at(books.snapshot(BTC), later)
        books.take_in([SNAPSHOT])
        assert is_at(books.snapshot(BTC), later)


async def test_a_void_book_is_not_available_until_it_is_told_again() -> None:
    async with memory(RememberedBooks()) as books:
        books.take_in([SNAPSHOT, BookSnapshot(BTC, 10, (), (), at(0), at(0), consistent=False, sequence=2)])
        with pytest.raises(BookNotAvailable, match="synchronised") as refused:
            books.snapshot(BTC)
        assert refused.value.retry_after == 1
        again = a_snapshot(20, {"99": "1"}, {"101": "3"}, sequence=3)
        books.take_in([again])
        assert is_at(books.snapshot(BTC), again)


async def test_a_book_of_which_nothing_is_heard_any_more_is_not_available() -> None:
    async with memory(RememberedBooks(), stale_seconds=0.01) as books:
        books.take_in([SNAPSHOT])
        await asyncio.sleep(0.02)
        with pytest.raises(BookNotAvailable, match="lately"):
            books.snapshot(BTC)


async def test_a_stored_book_that_is_old_is_not_taken_for_the_newest() -> None:
    store = RememberedBooks()
    await store.add([SNAPSHOT], None)
    async with memory(store, now=at(3600)) as books:
        with pytest.raises(BookNotAvailable, match="lately"):
            books.snapshot(BTC)


async def test_while_the_journal_is_away_no_book_is_told() -> None:
    journal = Journal()
    async with memory(RememberedBooks(), journal) as books:
        books.take_in([SNAPSHOT])
        journal.is_away = True
        with pytest.raises(BookNotAvailable, match="journal"):
            books.snapshot(BTC)
