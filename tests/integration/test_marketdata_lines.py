"""Trades are stored once and numbered without holes, by any number of writers, and published once from any of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from levimesh.marketdata.v1 import trade_pb2
from services.marketdata.adapters.journal import TRADES, trade_lines
from services.marketdata.adapters.leases import PostgresLeases
from services.marketdata.adapters.lines import PostgresLines
from services.marketdata.adapters.trades import PostgresTrades
from services.marketdata.domain.market import Trade
from services.marketdata.feeding.line_publisher import LinePublisher
from services.marketdata.feeding.trade_writer import TradeWriter
from services.marketdata.ports.leases import LeaseLost
from services.marketdata.ports.lines import Line
from services.runtime.database import open_database
from services.runtime.journal import START, RedisJournal, open_journal
from tests.marketdata import until
from tests.unit.marketdata.builders import BTC, a_trade

LINE = f"trades:{BTC}"


@dataclass(frozen=True)
class Writer:
    """What a replica stores and publishes with."""

    engine: AsyncEngine
    journal: RedisJournal

    @property
    def trades(self) -> PostgresTrades:
        return PostgresTrades(self.engine)

    @property
    def lines(self) -> PostgresLines:
        return PostgresLines(self.engine)

    @property
    def leases(self) -> PostgresLeases:
        return PostgresLeases(self.engine)

    async def stored(self) -> list[tuple[str, int]]:
        """The ids of the stored trades with their sequences, by sequence."""
        return [(trade.trade_id, trade.sequence) for trade in await self.trades.after(BTC, 0, 100_000)]

    async def published(self) -> list[int]:
        """The sequences of the trades in the journal, in its order."""
        entries = await self.journal.read(TRADES, START, 100_000)
        batches = [trade_pb2.TradeBatch.FromString(entry.event) for entry in entries]
        return [trade.sequence for batch in batches for trade in batch.trades]

    async def has_published(self, count: int) -> None:
        """Wait until the trades 1 to ``count`` are published, each once and in order."""

        async def has_come() -> bool:
            return len(await self.published()) >= count

        await until(has_come)
        assert await self.published() == list(range(1, count + 1))

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[LinePublisher[Trade]]:
        publisher = LinePublisher(trade_lines(self.trades), self.journal, self.lines)
        tasks = [asyncio.create_task(publisher.run()), asyncio.create_task(publisher.watch_over(lambda: [BTC]))]
        try:
            yield publisher
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task


@pytest.fixture
async def writer(database_url: Callable[[str], str], redis_url: str) -> AsyncIterator[Writer]:
    async with (
        open_database(SecretStr(database_url("marketdata"))) as engine,
        open_journal(SecretStr(redis_url)) as journal,
    ):
        yield Writer(engine, journal)


def numbered(first: int, last: int) -> list[Trade]:
    return [a_trade(number, number) for number in range(first, last + 1)]


async def test_trades_are_numbered_in_the_order_given_and_stored_once_whatever_is_sent_again(writer: Writer) -> None:
    first = await writer.trades.add([*numbered(1, 3), a_trade(2, 2)], None)
    assert (first.new, first.known, first.conflicts) == (numbered(1, 3), 1, [])
    later = replace(a_trade(3, 3), receive_time=a_trade(3, 3).receive_time + timedelta(hours=1))
    again = await writer.trades.add([a_trade(5, 5), later, *numbered(1, 5)], None)
    assert ([trade.trade_id for trade in again.new], again.known) == (["5", "4"], 5)
    assert await writer.stored() == [("1", 1), ("2", 2), ("3", 3), ("5", 4), ("4", 5)]


async def test_ids_that_are_no_numbers_are_known_again_too(writer: Writer) -> None:
    trades = [a_trade(name, seconds) for seconds, name in enumerate(("x-9", "x-1", "x-5"))]
    await writer.trades.add(trades, None)
    again = await writer.trades.add([a_trade("x-0", 9), *trades, a_trade(7, 10)], None)
    assert (again.known, [trade.trade_id for trade in again.new]) == (3, ["x-0", "7"])
    assert [sequence for _, sequence in await writer.stored()] == [1, 2, 3, 4, 5]


async def test_another_trade_with_the_id_of_a_stored_one_is_a_conflict_and_not_stored(writer: Writer) -> None:
    await writer.trades.add(numbered(1, 5), None)
    dearer, later = a_trade(2, 2, price="101"), a_trade(3, 3.4)
    stored = await writer.trades.add([a_trade(6, 6), dearer, later, a_trade(6, 6, quantity="2")], None)
    assert stored.new == [a_trade(6, 6)]
    assert stored.conflicts == [dearer, later, a_trade(6, 6, quantity="2")]
    assert len(await writer.stored()) == 6


async def test_a_source_that_counts_anew_has_new_trades(writer: Writer) -> None:
    await writer.trades.add(numbered(1, 5), None)
    assert len((await writer.trades.add([a_trade(1, 1000), a_trade(2, 1001)], None)).new) == 2


async def test_writers_of_the_same_trades_at_once_store_each_once_without_holes(writer: Writer) -> None:
    others = [writer.trades for _ in range(4)]
    parts = [numbered(start, start + 60) for start in (1, 20, 40, 1)]
    stored = await asyncio.gather(*(trades.add(part, None) for trades, part in zip(others, parts, strict=True)))
    assert sum(len(each.new) for each in stored) == 100
    assert [sequence for _, sequence in await writer.stored()] == list(range(1, 101))
    assert (await writer.lines.get([LINE]))[LINE] == Line(100, 0)


async def test_a_partition_that_another_replica_dropped_is_made_again(writer: Writer) -> None:
    trades = writer.trades
    await trades.add(numbered(1, 2), None)
    await writer.trades.drop_expired(a_trade(0, 200_000).trade_time)
    with pytest.raises(Exception, match="no partition"):
        await trades.add(numbered(3, 4), None)
    assert [trade.sequence for trade in (await trades.add(numbered(3, 4), None)).new] == [3, 4]


async def test_a_lease_is_one_replicas_at_a_time_and_its_token_grows(writer: Writer) -> None:
    first = await writer.leases.acquire("simex", "one")
    assert first is not None
    assert await writer.leases.acquire("simex", "two") is None
    assert await writer.leases.acquire("simex", "one") is None
    await writer.leases.renew(first)
    await writer.leases.release(first)
    second = await writer.leases.acquire("simex", "two")
    assert second is not None
    assert (second.holder, second.token) == ("two", first.token + 1)
    with pytest.raises(LeaseLost):
        await writer.leases.renew(first)
    await writer.leases.release(first)
    assert await writer.leases.acquire("simex", "one") is None


async def test_a_lease_that_is_not_renewed_expires(writer: Writer) -> None:
    short = PostgresLeases(writer.engine, valid_seconds=0.1)
    assert await short.acquire("simex", "one") is not None

    async def is_free() -> bool:
        return await short.acquire("simex", "two") is not None

    await until(is_free)


async def test_who_lost_the_lease_can_store_nothing_under_it(writer: Writer) -> None:
    zombie = await writer.leases.acquire("simex", "one")
    assert zombie is not None
    assert len((await writer.trades.add(numbered(1, 2), zombie)).new) == 2
    await writer.leases.release(zombie)
    heir = await writer.leases.acquire("simex", "two")
    assert heir is not None
    with pytest.raises(LeaseLost):
        await writer.trades.add(numbered(3, 4), zombie)
    assert len((await writer.trades.add(numbered(3, 4), heir)).new) == 2


async def test_a_lease_is_renewed_while_rows_are_written_and_taken_over_only_after(writer: Writer) -> None:
    leases = PostgresLeases(writer.engine, valid_seconds=0.2)
    held = await leases.acquire("simex", "one")
    assert held is not None
    statement = text("SELECT FROM marketdata.leases WHERE source = 'simex' AND token = :token FOR KEY SHARE")
    async with writer.engine.begin() as writing:
        await writing.execute(statement, {"token": held.token})
        async with asyncio.timeout(5):
            await leases.renew(held)
        takeover = asyncio.create_task(_acquired(leases))
        await until(_waits_for_a_lock(writer.engine))
        assert not takeover.done()
    assert (await takeover) == held.token + 1


async def _acquired(leases: PostgresLeases) -> int:
    while (lease := await leases.acquire("simex", "two")) is None:  # noqa: ASYNC110 - the database sets no event here
        await asyncio.sleep(0.02)
    return lease.token


def _waits_for_a_lock(engine: AsyncEngine) -> Callable[[], Awaitable[bool]]:
    async def waits() -> bool:
        statement = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        async with engine.connect() as connection:
            return bool((await connection.execute(statement)).scalar_one())

    return waits


async def test_what_two_replicas_store_is_published_once_and_in_order(writer: Writer) -> None:
    async with writer.publishing() as one, writer.publishing() as other:
        writes = [TradeWriter(writer.trades, one), TradeWriter(writer.trades, other)]
        for start in range(0, 100, 10):
            await asyncio.gather(*(write(numbered(start, start + 14), None) for write in writes))
        await writer.has_published(105)


async def test_what_was_stored_but_not_published_before_a_crash_is_published_by_the_next(writer: Writer) -> None:
    async with writer.publishing() as publisher:
        await TradeWriter(writer.trades, publisher)(numbered(1, 5), None)
        await writer.has_published(5)
    assert (await writer.lines.get([LINE]))[LINE] == Line(5, 5)
    await writer.trades.add(numbered(6, 2500), None)
    async with writer.publishing():
        await writer.has_published(2500)


async def test_what_another_replica_stored_and_left_is_published_while_both_run(writer: Writer) -> None:
    async with writer.publishing() as publisher:
        await TradeWriter(writer.trades, publisher)(numbered(1, 5), None)
        await writer.has_published(5)
        await writer.trades.add(numbered(6, 9), None)
        await TradeWriter(writer.trades, publisher)(numbered(10, 12), None)
        await writer.has_published(12)
        await writer.trades.add(numbered(13, 14), None)
        await writer.has_published(14)


async def test_a_journal_that_lost_everything_goes_on_behind_what_was_published(writer: Writer, redis_url: str) -> None:
    async with writer.publishing() as publisher:
        write = TradeWriter(writer.trades, publisher)
        await write(numbered(1, 5), None)
        await writer.has_published(5)
        async with Redis.from_url(redis_url) as redis:
            await redis.flushall()
        await write(numbered(6, 7), None)

        async def has_come() -> bool:
            return bool(await writer.published())

        await until(has_come)
        assert await writer.published() == [6, 7]


async def test_a_journal_that_lost_its_newest_rows_gets_them_again(writer: Writer, redis_url: str) -> None:
    async with writer.publishing() as publisher:
        write = TradeWriter(writer.trades, publisher)
        await write(numbered(1, 5), None)
        await writer.has_published(5)
        await write(numbered(6, 7), None)
        await writer.has_published(7)
        async with Redis.from_url(redis_url) as redis:
            newest: Any = await redis.xrevrange(f"journal:{TRADES}", count=1)
            last = newest[0][0]
            await redis.xdel(f"journal:{TRADES}", last)
            await redis.hset(f"lines:{{journal:{TRADES}}}", BTC, "5")
        await write(numbered(8, 8), None)
        await writer.has_published(8)


async def test_a_database_that_lost_rows_which_were_published_goes_on(writer: Writer, redis_url: str) -> None:
    await writer.journal.move_line(TRADES, BTC, None, 50)
    await writer.trades.add(numbered(1, 3), None)
    async with writer.publishing() as publisher:

        async def has_come_back() -> bool:
            return (await writer.journal.newest_in_line(TRADES, [BTC]))[BTC] == 3

        await until(has_come_back)
        await TradeWriter(writer.trades, publisher)(numbered(4, 4), None)

        async def has_come() -> bool:
            return (await writer.published())[-1:] == [4]

        await until(has_come)


async def test_rows_that_were_dropped_before_they_were_published_hold_nothing_up(writer: Writer) -> None:
    await writer.trades.add(numbered(1, 3), None)
    await writer.trades.add([a_trade(4, 200_000)], None)
    await writer.trades.drop_expired(a_trade(0, 200_000).trade_time)
    async with writer.publishing():

        async def has_come() -> bool:
            return await writer.published() == [4]

        await until(has_come)
