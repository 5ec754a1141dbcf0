"""The journal and its broadcast on a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from levimesh.common.v1 import streaming_pb2
from services.runtime.broadcast import Broadcast
from services.runtime.errors import DependencyUnavailable, ResumeTokenInvalid, SlowReaderCut
from services.runtime.journal import START, LineEntry, RedisJournal, open_journal
from services.runtime.ring import Beat, Entries, Item, Lost

TOPIC = "a.topic"
DISCONNECT, CONFLATE = streaming_pb2.SLOW_READER_DISCONNECT, streaming_pb2.SLOW_READER_CONFLATE


@pytest.fixture
async def journal(redis_url: str) -> AsyncIterator[RedisJournal]:
    async with open_journal(SecretStr(redis_url)) as journal:
        yield journal


def events(*numbers: int, key: str = "k") -> list[tuple[str, bytes]]:
    return [(key, str(number).encode()) for number in numbers]


def numbers_in(entries: Sequence[object]) -> list[int]:
    return [int(entry.event) for entry in entries]  # type: ignore[attr-defined] # entries of the journal


@asynccontextmanager
async def broadcasting(journal: RedisJournal, capacity: int = 1000, heartbeat: float = 10) -> AsyncIterator[Broadcast]:
    """A broadcast that has read everything that is in the journal now."""
    broadcast = Broadcast(journal, TOPIC, capacity=capacity, heartbeat=heartbeat)
    running = asyncio.create_task(broadcast.run())
    try:
        yield broadcast
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def subscribe(
    broadcast: Broadcast,
    token: str = "",
    *,
    keys: frozenset[str] | None = None,
    slow_reader: "streaming_pb2.SlowReader.ValueType" = DISCONNECT,
) -> AsyncIterator[Item]:
    return broadcast.subscribe(keys=keys, resume_token=token, slow_reader=slow_reader)


async def following(subscription: AsyncIterator[Item], count: int) -> tuple[list[int], str]:
    """The next ``count`` events of ``subscription``, however they are batched, and the token after them."""
    got: list[int] = []
    async with asyncio.timeout(10):
        async for item in subscription:
            if isinstance(item, Entries):
                got += numbers_in(item.entries)
                if len(got) >= count:
                    return got, item.resume_token
    raise AssertionError("the subscription ended")


async def test_what_is_appended_is_read_in_order_from_any_offset(journal: RedisJournal) -> None:
    offsets = await journal.append(TOPIC, events(1, 2, 3))
    assert numbers_in(await journal.read(TOPIC, START, 10)) == [1, 2, 3]
    assert numbers_in(await journal.read(TOPIC, offsets[0], 1)) == [2]
    assert await journal.last_offset(TOPIC) == offsets[2]


def rows(first: int, last: int, key: str = "k") -> LineEntry:
    """One event that holds these rows of a line."""
    return LineEntry(key, f"{first}-{last}".encode(), first, last)


async def texts_in(journal: RedisJournal) -> list[str]:
    return [entry.event.decode() for entry in await journal.read(TOPIC, START, 1000)]


async def test_a_line_begins_where_it_is_told_to_and_not_before(journal: RedisJournal) -> None:
    assert await journal.append_in_line(TOPIC, [rows(1, 3)]) == {"k": None}
    assert await journal.append_in_line(TOPIC, [rows(8, 9), rows(1, 2, "other")], {"k": 7, "other": 0}) == {
        "k": 9,
        "other": 2,
    }
    assert await journal.append_in_line(TOPIC, [rows(10, 10)], {"k": 3}) == {"k": 10}
    assert await texts_in(journal) == ["8-9", "1-2", "10-10"]


async def test_rows_that_a_line_has_already_are_left_out(journal: RedisJournal) -> None:
    await journal.append_in_line(TOPIC, [rows(1, 3), rows(4, 5)], {"k": 0})
    assert await journal.append_in_line(TOPIC, [rows(1, 3), rows(4, 5), rows(6, 6)]) == {"k": 6}
    assert await texts_in(journal) == ["1-3", "4-5", "6-6"]


async def test_what_comes_after_a_hole_is_left_out_and_the_newest_row_tells_where_the_hole_is(
    journal: RedisJournal,
) -> None:
    await journal.append_in_line(TOPIC, [rows(1, 3)], {"k": 0})
    assert await journal.append_in_line(TOPIC, [rows(5, 6), rows(7, 7), rows(1, 1, "other")], {"other": 0}) == {
        "k": 3,
        "other": 1,
    }
    assert await journal.append_in_line(TOPIC, [rows(2, 6)]) == {"k": 3}
    assert await journal.append_in_line(TOPIC, [rows(4, 6), rows(7, 7)]) == {"k": 7}
    assert await texts_in(journal) == ["1-3", "1-1", "4-6", "7-7"]


async def test_rows_are_appended_once_though_an_answer_was_lost_and_two_writers_append_them(redis_url: str) -> None:
    async with open_journal(SecretStr(redis_url)) as one, open_journal(SecretStr(redis_url)) as other:
        await one.append_in_line(TOPIC, [rows(1, 1)], {"k": 0})
        lost = asyncio.create_task(one.append_in_line(TOPIC, [rows(2, 2)]))
        # The command is on its way when its sender gives up.
        await asyncio.sleep(0)
        lost.cancel()
        batches = [[rows(number, number) for number in range(2, last)] for last in (20, 30, 40)]
        await asyncio.gather(*(writer.append_in_line(TOPIC, batch) for batch in batches for writer in (one, other)))
        assert await texts_in(one) == [f"{number}-{number}" for number in range(1, 40)]


async def test_numbers_of_a_line_stay_exact_when_they_are_large(journal: RedisJournal) -> None:
    large = 2**53 - 3
    assert await journal.append_in_line(TOPIC, [rows(large + 1, large + 2)], {"k": large}) == {"k": large + 2}


async def test_a_topic_that_lost_everything_knows_nothing_of_its_lines_either(
    journal: RedisJournal, redis_url: str
) -> None:
    await journal.append_in_line(TOPIC, [rows(1, 3)], {"k": 0})
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
    assert await journal.append_in_line(TOPIC, [rows(4, 4)]) == {"k": None}


async def test_an_empty_topic_begins_at_the_start(journal: RedisJournal) -> None:
    assert await journal.last_offset(TOPIC) == START
    assert await journal.holds(TOPIC, START)


async def test_the_tail_waits_for_what_comes(journal: RedisJournal) -> None:
    tail = journal.tail(TOPIC, START)
    waiting = asyncio.ensure_future(anext(tail))
    await journal.append(TOPIC, events(7))
    assert numbers_in(await waiting) == [7]


async def test_an_offset_whose_event_is_gone_is_not_held(redis_url: str) -> None:
    async with open_journal(SecretStr(redis_url), keep=100) as small:
        first = (await small.append(TOPIC, events(0)))[0]
        assert await small.holds(TOPIC, first)
        await small.append(TOPIC, events(*range(500)))
        assert not await small.holds(TOPIC, first)
        assert not await small.holds(TOPIC, START)


async def test_a_new_subscriber_gets_a_token_first_and_then_what_comes(journal: RedisJournal) -> None:
    await journal.append(TOPIC, events(1))
    async with broadcasting(journal) as broadcast:
        subscription = subscribe(broadcast)
        first = await anext(subscription)
        assert first == Beat(await journal.last_offset(TOPIC))
        await journal.append(TOPIC, events(2, 3))
        assert (await following(subscription, 2))[0] == [2, 3]


async def test_a_resumed_subscriber_misses_nothing_and_gets_nothing_twice(journal: RedisJournal) -> None:
    offsets = await journal.append(TOPIC, events(*range(2000)))
    async with broadcasting(journal, capacity=100) as broadcast:
        subscription = subscribe(broadcast, offsets[9])
        await journal.append(TOPIC, events(*range(2000, 2050)))
        assert (await following(subscription, 2040))[0] == list(range(10, 2050))


async def test_a_subscriber_resumes_from_inside_the_ring(journal: RedisJournal) -> None:
    async with broadcasting(journal) as broadcast:
        first = subscribe(broadcast)
        await anext(first)
        offsets = await journal.append(TOPIC, events(1, 2, 3, 4))
        await following(first, 4)
        assert (await following(subscribe(broadcast, offsets[1]), 2))[0] == [3, 4]


async def test_a_resumed_subscriber_that_missed_nothing_is_told_so_at_once(journal: RedisJournal) -> None:
    (offset,) = await journal.append(TOPIC, events(1))
    async with broadcasting(journal) as broadcast:
        assert await anext(subscribe(broadcast, offset)) == Beat(offset)


async def test_only_the_wanted_keys_arrive(journal: RedisJournal) -> None:
    async with broadcasting(journal) as broadcast:
        subscription = subscribe(broadcast, keys=frozenset({"mine"}))
        await anext(subscription)
        await journal.append(TOPIC, [*events(1, key="other"), *events(2, key="mine"), *events(3, key="other")])
        assert (await following(subscription, 1))[0] == [2]


async def test_an_idle_subscriber_gets_heartbeats_though_others_keys_are_busy(journal: RedisJournal) -> None:
    async with broadcasting(journal, heartbeat=0.05) as broadcast:
        subscription = subscribe(broadcast, keys=frozenset({"mine"}))
        await anext(subscription)
        offsets = await journal.append(TOPIC, events(1, key="other"))
        async with asyncio.timeout(5):
            while await anext(subscription) != Beat(offsets[0]):
                pass


async def test_nobody_is_told_that_nothing_happened_while_the_journal_cannot_be_read(journal: RedisJournal) -> None:
    async with broadcasting(journal, heartbeat=0.05) as broadcast:
        subscription = subscribe(broadcast)
        await anext(subscription)
    with pytest.raises(DependencyUnavailable):
        async for _ in subscription:
            pass


async def test_a_token_from_before_what_is_kept_gives_a_gap(journal: RedisJournal) -> None:
    await journal.append(TOPIC, events(1))
    async with broadcasting(journal) as broadcast:
        subscription = subscribe(broadcast, "1-1")
        newest = await journal.last_offset(TOPIC)
        assert await anext(subscription) == Lost(streaming_pb2.GAP_CAUSE_RETENTION, 0, newest)


async def test_a_made_up_token_is_refused(journal: RedisJournal) -> None:
    async with broadcasting(journal) as broadcast:
        with pytest.raises(ResumeTokenInvalid):
            await anext(subscribe(broadcast, "yesterday"))


async def a_stalled_reader(
    journal: RedisJournal, broadcast: Broadcast, slow_reader: "streaming_pb2.SlowReader.ValueType"
) -> AsyncIterator[Item]:
    """A subscriber that has read nothing while 50 events went through a ring of 10."""
    stalled = subscribe(broadcast, slow_reader=slow_reader)
    await anext(stalled)
    other = subscribe(broadcast)
    await anext(other)
    for number in range(50):
        await journal.append(TOPIC, events(number, key=str(number % 3)))
        await following(other, 1)
    return stalled


async def test_a_slow_reader_is_cut(journal: RedisJournal) -> None:
    async with broadcasting(journal, capacity=10) as broadcast:
        stalled = await a_stalled_reader(journal, broadcast, DISCONNECT)
        with pytest.raises(SlowReaderCut):
            await anext(stalled)


async def test_a_slow_reader_that_conflates_gets_the_newest_of_each_key(journal: RedisJournal) -> None:
    async with broadcasting(journal, capacity=10) as broadcast:
        stalled = await a_stalled_reader(journal, broadcast, CONFLATE)
        lost = await anext(stalled)
        assert isinstance(lost, Lost)
        assert (lost.cause, lost.dropped) == (streaming_pb2.GAP_CAUSE_CONFLATED, 47)
        assert (await following(stalled, 3))[0] == [47, 48, 49]


async def test_a_journal_that_lost_everything_is_told_as_a_gap(journal: RedisJournal, redis_url: str) -> None:
    await journal.append(TOPIC, events(1))
    broadcast = Broadcast(journal, TOPIC)
    running = asyncio.create_task(broadcast.run())
    subscription = subscribe(broadcast)
    await anext(subscription)
    running.cancel()
    await asyncio.wait([running])
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
    await journal.append(TOPIC, events(2))
    running = asyncio.create_task(broadcast.run())
    item = await anext(subscription)
    assert isinstance(item, Lost)
    assert item.cause == streaming_pb2.GAP_CAUSE_RETENTION
    await journal.append(TOPIC, events(3))
    assert (await following(subscription, 1))[0] == [3]
    running.cancel()
    await asyncio.wait([running])


async def test_subscribing_without_a_journal_says_so() -> None:
    async with open_journal(SecretStr("redis://127.0.0.1:1")) as away:
        broadcast = Broadcast(away, TOPIC)
        with pytest.raises(DependencyUnavailable):
            await anext(subscribe(broadcast))


async def test_a_redis_that_hangs_is_told_as_away_and_not_as_the_callers_deadline() -> None:
    left = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as deaf:
        url = f"redis://127.0.0.1:{deaf.sockets[0].getsockname()[1]}"
        async with open_journal(SecretStr(url), patience=0.1) as journal:
            with pytest.raises(DependencyUnavailable):
                await journal.last_offset(TOPIC)
        async with asyncio.timeout(5):
            await left.wait()


async def test_what_comes_at_once_after_an_absence_is_heard_in_small_parts(journal: RedisJournal) -> None:
    heard: list[int] = []
    async with broadcasting(journal) as broadcast:
        broadcast.listen(lambda entries: heard.append(len(entries)))
        subscription = subscribe(broadcast)
        await anext(subscription)
        await journal.append(TOPIC, [("BTC", bytes(100_000))] * 20)
        seen = 0
        while seen < 20:
            item = await anext(subscription)
            seen += len(item.entries) if isinstance(item, Entries) else 0
    assert sum(heard) == 20
    assert max(heard) <= 2


async def test_a_line_is_moved_only_from_where_it_is_known_to_be(journal: RedisJournal) -> None:
    await journal.move_line(TOPIC, "BTC", None, 7)
    await journal.move_line(TOPIC, "BTC", None, 3)
    await journal.move_line(TOPIC, "BTC", 6, 3)
    assert await journal.newest_in_line(TOPIC, ["BTC"]) == {"BTC": 7}

    await journal.move_line(TOPIC, "BTC", 7, 3)
    assert await journal.newest_in_line(TOPIC, ["BTC"]) == {"BTC": 3}
