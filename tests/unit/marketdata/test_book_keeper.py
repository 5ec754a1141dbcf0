"""What the keeper of a book tells its readers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, cast

import pytest

from services.marketdata.domain.book import BookChange, BookDelta, BookSnapshot
from services.marketdata.domain.market import Symbol, SymbolState
from services.marketdata.feeding.book_feed import BookFeed
from services.marketdata.feeding.book_keeper import BookKeeper, BookTimes
from services.marketdata.ports.leases import LeaseLost
from services.marketdata.ports.sources import Source
from tests.unit.marketdata.books import (
    RememberedBooks,
    ScriptedSource,
    a_delta,
    a_snapshot,
    a_symbol,
    levels,
)
from tests.unit.marketdata.builders import BTC, at

FIRST = a_snapshot(10, {"99": "1", "98": "2"}, {"101": "3"})
HOUR = 3600.0


@asynccontextmanager
async def keeping(
    source: ScriptedSource, stored: Sequence[BookChange] = (), depth: int = 5, snapshot_seconds: float = HOUR
) -> AsyncIterator[BookKeeper]:
    """A keeper that follows ``source``."""
    keeper = BookKeeper(
        a_symbol(depth), cast(Source, source), stored, BookTimes(0.005, snapshot_seconds), lambda: at(100)
    )
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_keeper_tells_the_book_first_and_then_its_net_changes() -> None:
    source = ScriptedSource()
    async with keeping(source) as keeper:
        assert keeper.next() is None
        await source.tells(FIRST)
        assert keeper.next() == FIRST
        assert keeper.next() is None
        await source.tells(a_delta(11, 12, {"99": "7"}, {}, 1), a_delta(13, 13, {"99": "8", "97": "1"}, {}, 2))
        assert keeper.next() == a_delta(11, 13, {"99": "8", "97": "1"}, {}, 2)
        await source.tells(a_delta(14, 14, {"97": "9"}, {}, 3))
        await source.tells(a_delta(15, 15, {"97": "1"}, {}, 4))
        assert keeper.next() is None
        await source.tells(a_delta(16, 16, {}, {"101": "0", "102": "1"}, 5))
        assert keeper.next() == a_delta(14, 16, {}, {"101": "0", "102": "1"}, 5)
        assert keeper.problem is None
        assert source.resyncs == 1


async def test_only_the_top_of_the_book_is_told() -> None:
    source = ScriptedSource()
    async with keeping(source, depth=1) as keeper:
        await source.tells(FIRST)
        assert keeper.next() == a_snapshot(10, {"99": "1"}, {"101": "3"})
        await source.tells(a_delta(11, 11, {"98": "5"}, {}, 1))
        assert keeper.next() is None
        await source.tells(a_delta(12, 12, {"99": "0"}, {}, 2))
        assert keeper.next() == a_delta(11, 12, {"99": "0", "98": "5"}, {}, 2)


async def test_the_book_is_told_as_a_whole_again_and_again() -> None:
    source = ScriptedSource()
    async with keeping(source, snapshot_seconds=0) as keeper:
        await source.tells(FIRST)
        assert keeper.next() == FIRST
        assert keeper.next() == FIRST
        await source.tells(a_delta(11, 11, {"98": "0"}, {}, 1))
        assert keeper.next() == a_snapshot(11, {"99": "1"}, {"101": "3"}, 1)


@pytest.mark.parametrize("lost", [a_delta(12, 12, {"99": "0"}, {}), a_delta(11, 11, {"101": "1"}, {})])
async def test_after_a_lost_change_or_a_crossed_book_readers_know_that_there_is_none_until_it_is_whole_again(
    lost: BookDelta,
) -> None:
    source = ScriptedSource()
    async with keeping(source) as keeper:
        await source.tells(FIRST)
        keeper.next()
        await source.tells(lost)
        assert source.resyncs == 2
        assert keeper.problem is not None
        void = keeper.next()
        assert isinstance(void, BookSnapshot)
        assert (void.consistent, void.bids, void.asks) == (False, (), ())
        await source.tells(a_delta(13, 13, {"99": "0"}, {}))
        assert keeper.next() is None
        again = a_snapshot(20, {"98": "1"}, {"99": "1"}, 2)
        await source.tells(again)
        assert keeper.next() == again
        assert keeper.problem is None
        assert source.resyncs == 2


async def test_without_the_source_there_is_no_book() -> None:
    source = ScriptedSource()
    async with keeping(source) as keeper:
        await source.tells(FIRST)
        keeper.next()
        await source.breaks("the exchange is down")
        void = keeper.next()
        assert isinstance(void, BookSnapshot)
        assert not void.consistent
        assert keeper.problem == "the exchange is down"
        await source.tells(FIRST)
        assert keeper.next() == FIRST


async def test_a_keeper_that_takes_over_voids_what_readers_had_and_goes_on_with_a_whole_book() -> None:
    source = ScriptedSource()
    stored: list[BookChange] = [
        a_snapshot(5, {"90": "1"}, {"91": "1"}, sequence=1),
        a_delta(6, 6, {"89": "1"}, {}, sequence=2),
    ]
    async with keeping(source, stored) as keeper:
        void = keeper.next()
        assert isinstance(void, BookSnapshot)
        assert (void.consistent, void.event_time, void.receive_time) == (False, at(0), at(100))
        assert keeper.next() is None
        await source.tells(FIRST)
        assert keeper.next() == FIRST


async def test_what_was_not_told_for_sure_is_told_again() -> None:
    source = ScriptedSource()
    async with keeping(source) as keeper:
        await source.tells(FIRST)
        keeper.next()
        keeper.not_told()
        assert keeper.next() == FIRST
        await source.breaks()
        first = keeper.next()
        keeper.not_told()
        assert keeper.next() == first
        assert keeper.next() is None


async def test_a_book_that_does_not_change_for_long_is_asked_for_again() -> None:
    source = ScriptedSource()
    keeper = BookKeeper(a_symbol(), cast(Source, source), (), BookTimes(silent_seconds=0.01), lambda: at(100))
    task = asyncio.create_task(keeper.run())
    try:
        await until(lambda: source.resyncs > 1)
        assert keeper.problem is not None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_source_that_is_at_its_end_is_asked_no_more() -> None:
    source = ScriptedSource()
    keeper = BookKeeper(a_symbol(), cast(Source, source), (), BookTimes(), lambda: at(100))
    task = asyncio.create_task(keeper.run())
    await source.tells(FIRST)
    keeper.next()
    source.ends()
    async with asyncio.timeout(5):
        await task
    void = keeper.next()
    assert isinstance(void, BookSnapshot)
    assert (void.consistent, keeper.problem) == (False, "all has been read")


async def test_a_source_with_a_fault_does_not_leave_a_book_that_looks_alive() -> None:
    source = ScriptedSource()
    async with keeping(source) as keeper:
        await source.tells(FIRST)
        keeper.next()
        await source.breaks(KeyError("b"))
        void = keeper.next()
        assert isinstance(void, BookSnapshot)
        assert not void.consistent
        await source.tells(FIRST)
        assert keeper.next() == FIRST


async def test_a_source_that_numbers_from_the_beginning_again_is_told_as_a_whole_book() -> None:
    source = ScriptedSource()
    async with keeping(source) as keeper:
        await source.tells(FIRST)
        keeper.next()
        again = a_snapshot(3, {"99": "2"}, {"101": "3"}, 1)
        await source.tells(again)
        assert keeper.next() == again


async def test_a_snapshot_is_asked_for_when_the_price_moves_to_where_the_last_one_did_not_reach() -> None:
    source = ScriptedSource()
    async with keeping(source, depth=1) as keeper:
        await source.tells(a_snapshot(10, {"99": "1", "98": "1"}, {"101": "1", "102": "1"}))
        await source.tells(a_delta(11, 11, {"99": "0"}, {}))
        assert source.resyncs == 1
        await source.tells(a_delta(12, 12, {"98": "0", "97": "1"}, {}))
        assert source.resyncs == 2
        await source.tells(a_delta(13, 13, {"97": "2"}, {}))
        assert source.resyncs == 2
        assert keeper.problem is None


@asynccontextmanager
async def feeding(
    source: ScriptedSource, store: RememberedBooks, symbols: list[Symbol]
) -> AsyncIterator[tuple[BookFeed, list[BookChange], "asyncio.Task[None]"]]:
    """A feed of books, and what it offers for publishing."""
    offered: list[BookChange] = []
    times = BookTimes(0.005, HOUR)
    feed = BookFeed(
        cast(Source, source), lambda: symbols, store, lambda _, events: offered.extend(events), times, lambda: at(100)
    )
    task = asyncio.create_task(feed.run(None))
    try:
        yield feed, offered, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the feed's pace sets no event
            await asyncio.sleep(0.005)


async def test_what_is_stored_is_offered_with_its_place_in_the_line() -> None:
    source, store = ScriptedSource(), RememberedBooks()
    async with feeding(source, store, [a_symbol()]) as (feed, offered, _):
        await source.tells(FIRST)
        await until(lambda: len(offered) == 1)
        await source.tells(a_delta(11, 11, {"99": "2"}, {}, 1))
        await until(lambda: len(offered) == 2)

        assert offered == store.events == [FIRST, a_delta(11, 11, {"99": "2"}, {}, 1)]
        assert [event.sequence for event in offered] == [1, 2]
        assert feed.newest == at(1)


async def test_while_the_store_is_away_changes_become_one_whole_book() -> None:
    source, store = ScriptedSource(), RememberedBooks()
    async with feeding(source, store, [a_symbol()]) as (_, offered, _task):
        await source.tells(FIRST)
        await until(lambda: len(offered) == 1)
        store.is_away = True
        await source.tells(a_delta(11, 11, {"99": "2"}, {}, 1))
        await source.tells(a_delta(12, 12, {"99": "3"}, {}, 2))
        await asyncio.sleep(0.02)
        store.is_away = False
        await until(lambda: len(offered) == 2)

        assert offered[-1] == a_snapshot(12, {"99": "3", "98": "2"}, {"101": "3"}, 2)


async def test_who_has_lost_the_lease_stops() -> None:
    source, store = ScriptedSource(), RememberedBooks()
    async with feeding(source, store, [a_symbol()]) as (_, offered, task):
        await source.tells(FIRST)
        await until(lambda: len(offered) == 1)
        store.lease_is_lost = True
        await source.tells(a_delta(11, 11, {"99": "2"}, {}, 1))

        with pytest.raises(LeaseLost):
            async with asyncio.timeout(5):
                await task
        assert len(offered) == 1


async def test_symbols_are_followed_from_when_they_have_a_book_depth_until_they_are_deactivated() -> None:
    source, store = ScriptedSource(), RememberedBooks()
    symbols = [a_symbol(0), a_symbol(symbol="X@elsewhere", source="elsewhere")]
    async with feeding(source, store, symbols) as (_, offered, _task):
        await asyncio.sleep(0.02)
        symbols[0] = a_symbol(1, version=2)
        await source.tells(FIRST)
        await until(lambda: len(offered) == 1)
        symbols[0] = a_symbol(1, version=3, min_notional=Decimal(20))
        await source.tells(a_delta(11, 11, {"99": "3"}, {}, 1))
        await until(lambda: len(offered) == 2)
        assert (offered[-1], source.resyncs) == (a_delta(11, 11, {"99": "3"}, {}, 1), 1)
        symbols[0] = a_symbol(2, version=4)
        await until(lambda: source.resyncs == 2)
        await source.tells(FIRST)
        await until(lambda: offered[-1].bids == levels({"99": "1", "98": "2"}))
        symbols[0] = a_symbol(2, version=5, state=SymbolState.INACTIVE)
        await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == f"book of {BTC}"])
        await until(lambda: isinstance(offered[-1], BookSnapshot) and not offered[-1].consistent)
        assert {event.symbol for event in offered} == {BTC}
