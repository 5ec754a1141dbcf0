"""Order books in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.marketdata.adapters.books import PostgresBooks
from services.marketdata.adapters.leases import PostgresLeases
from services.marketdata.domain.book import BookChange, BookSnapshot
from services.marketdata.ports.leases import LeaseLost
from services.runtime.database import open_database
from tests.unit.marketdata.books import a_delta, a_snapshot
from tests.unit.marketdata.builders import BTC, at

ETH = "ETH-USDT@simex"
DAY = 86_400

SNAPSHOT = a_snapshot(10, {"99.5": "1", "98": "0.00000001"}, {"101": "123456789012345678.000000000000000001"})


@pytest.fixture
async def engine(database_url: Callable[[str], str]) -> AsyncIterator[AsyncEngine]:
    """A database of marketdata."""
    async with open_database(SecretStr(database_url("marketdata"))) as opened:
        yield opened


def numbered(events: list[BookChange], first: int = 1) -> list[tuple[BookChange, int]]:
    return [(event, index) for index, event in enumerate(events, first)]


def with_sequences(events: list[BookChange]) -> list[tuple[BookChange, int]]:
    return [(event, event.sequence) for event in events]


async def test_events_are_numbered_in_the_line_of_their_symbol_and_read_as_they_were_written(
    engine: AsyncEngine,
) -> None:
    store = PostgresBooks(engine)
    delta = a_delta(11, 12, {"99.5": "0"}, {}, 1)
    other = replace(SNAPSHOT, symbol=ETH)
    void = BookSnapshot(BTC, 12, (), (), at(2), at(3), consistent=False)
    again = a_snapshot(20, {}, {"7": "1"}, 5)

    first = await store.add([SNAPSHOT, other, delta], None)
    second = await store.add([void, again, a_delta(21, 21, {}, {"7": "2"}, 6)], None)

    assert with_sequences(first) == [(SNAPSHOT, 1), (other, 1), (delta, 2)]
    events: list[BookChange] = [SNAPSHOT, delta, void, again, a_delta(21, 21, {}, {"7": "2"}, 6)]
    assert with_sequences(second) == numbered(events[2:], 3)
    assert with_sequences(await store.after(BTC, 0, 100)) == numbered(events)
    assert with_sequences(await store.after(BTC, 1, 2)) == numbered(events[1:3], 2)
    assert with_sequences(await store.newest(BTC)) == numbered(events[3:], 4)
    assert await store.newest("X-USDT@simex") == []
    assert await store.symbols() == [BTC, ETH]


async def test_two_who_store_at_once_make_one_line_without_holes(engine: AsyncEngine) -> None:
    stores = PostgresBooks(engine), PostgresBooks(engine)

    await asyncio.gather(*(store.add([a_delta(n, n, {"1": "1"}, {})], None) for n in range(10) for store in stores))

    assert [event.sequence for event in await stores[0].after(BTC, 0, 100)] == list(range(1, 21))


async def test_who_has_lost_the_lease_stores_nothing(engine: AsyncEngine) -> None:
    store = PostgresBooks(engine)
    leases = PostgresLeases(engine)
    old = await leases.acquire("simex", "one")
    assert old is not None
    await store.add([SNAPSHOT], old)
    await leases.release(old)
    new = await leases.acquire("simex", "two")

    with pytest.raises(LeaseLost):
        await store.add([a_delta(11, 11, {"1": "1"}, {})], old)

    delta = a_delta(11, 12, {"1": "1"}, {})
    assert with_sequences(await store.add([delta], new)) == [(delta, 2)]
    assert with_sequences(await store.newest(BTC)) == [(SNAPSHOT, 1), (delta, 2)]


async def test_old_books_are_dropped_by_the_day_and_the_line_goes_on(engine: AsyncEngine) -> None:
    store = PostgresBooks(engine)
    await store.add([SNAPSHOT, a_delta(11, 11, {"1": "1"}, {}, DAY), a_snapshot(12, {}, {}, DAY)], None)

    await store.drop_expired(at(DAY) + timedelta(hours=1))
    kept = [event.sequence for event in await store.after(BTC, 0, 100)]
    # Written where a partition was dropped.
    await store.add([replace(SNAPSHOT, event_time=at(2 * DAY)), SNAPSHOT], None)

    assert kept == [2, 3]
    assert [event.sequence for event in await store.after(BTC, 0, 100)] == [2, 3, 4, 5]
    async with engine.connect() as connection:
        counted = await connection.execute(text("SELECT count(*) FROM marketdata.book_snapshots"))
        assert counted.scalar_one() == 3


async def test_a_partition_that_another_replica_dropped_is_made_again(engine: AsyncEngine) -> None:
    ours, theirs = PostgresBooks(engine), PostgresBooks(engine)
    await ours.add([SNAPSHOT], None)
    await theirs.drop_expired(at(2 * DAY))

    with pytest.raises(Exception, match="no partition"):
        await ours.add([SNAPSHOT], None)
    stored = await ours.add([SNAPSHOT], None)

    assert with_sequences(stored) == [(SNAPSHOT, 2)]
