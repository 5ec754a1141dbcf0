"""What outlives a stop, a crash and a lost Redis; and that everybody is told, in order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy import text

from levimesh.client.streams import resume
from levimesh.common.v1 import streaming_pb2
from levimesh.trading.v1 import order_pb2
from levimesh.trading.v1 import trading_service_pb2 as pb
from services.runtime.database import open_database
from services.runtime.journal import RedisJournal, open_journal
from services.trading.adapters.relay import TOPIC, OutboxRelay
from tests.trader import BUY, SELL, Trader, until
from tests.trading import ANN, BOB, RunningTrading, World, a_world
from tests.trading_sources import BTC

FILLED = order_pb2.ORDER_STATUS_FILLED
OPEN = order_pb2.ORDER_STATUS_OPEN
PARTLY = order_pb2.ORDER_STATUS_PARTIALLY_FILLED
CANCELLED = order_pb2.ORDER_STATUS_CANCELLED


@pytest.fixture
async def world(database_url: Callable[[str], str], redis_url: str, certificates: Path) -> AsyncIterator[World]:
    async with a_world(database_url("trading"), redis_url, certificates) as world:
        yield world


async def rows(world: World, query: str) -> list[tuple[object, ...]]:
    async with open_database(SecretStr(world.database_url)) as engine, engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(text(query))]


async def published(world: World) -> list[order_pb2.Order]:
    """Everything in the journal."""
    async with open_journal(SecretStr(world.redis_url)) as journal:
        return [order_pb2.Order.FromString(entry.event) for entry in await journal.read(TOPIC, "0-0", 10_000)]


async def everything_is_published(world: World) -> list[order_pb2.Order]:
    async def outbox_is_empty() -> bool:
        return await rows(world, "SELECT id FROM trading.outbox") == []

    await until(outbox_is_empty)
    return await published(world)


async def test_a_resting_order_survives_a_restart_and_is_filled_by_what_was_traded_meanwhile(world: World) -> None:
    async with world.trading() as trading:
        await trading.meets_the_market()
        order = await trading.user().submit(BUY, "1", "99")
        world.marketdata.trade("99", "0.25", trade_id="before")
        await trading.user().becomes(order.order_id, PARTLY)
    world.marketdata.trade("98", "0.25", trade_id="meanwhile")

    async with world.trading() as trading:
        ann = trading.user()
        world.marketdata.trade("99", "5", trade_id="after")
        filled = await ann.becomes(order.order_id, FILLED)

        assert [fill.quantity.value for fill in await ann.fills()] == ["0.5", "0.25", "0.25"]
        assert filled.version == 4
        assert Decimal((await ann.portfolio()).balances[0].reserved.value) == 0


async def test_a_trade_that_is_seen_again_fills_nothing_again(world: World) -> None:
    async with world.trading() as trading:
        await trading.meets_the_market()
        ann = trading.user()
        order, other = await ann.submit(BUY, "1", "99"), await ann.submit(BUY, "1", "98")
        world.marketdata.trade("99", "0.25", trade_id="one")
        await ann.becomes(order.order_id, PARTLY)

        world.marketdata.trade("99", "0.25", trade_id="one")
        world.marketdata.trade("98", "0.1", trade_id="one")
        world.marketdata.trade("99", "0.5", trade_id="two")
        world.marketdata.trade("100", trade_id="three")

        async def two_has_filled() -> bool:
            return len(await ann.fills()) > 1

        await until(two_has_filled)
        await ann.sees("100")
        assert [fill.quantity.value for fill in await ann.fills()] == ["0.5", "0.25"]
        assert (await ann.order(other.order_id)).status == OPEN


async def test_market_data_that_goes_away_and_comes_back_is_resumed(world: World) -> None:
    async with world.trading() as trading:
        await trading.meets_the_market()
        order = await trading.user().submit(BUY, "1", "99")
        world.marketdata.trade("99", "0.5")
        await trading.user().becomes(order.order_id, PARTLY)

        world.marketdata.tape.interrupt()
        world.marketdata.trade("98", "0.5")

        await trading.user().becomes(order.order_id, FILLED)


async def test_after_lost_trades_the_price_is_asked_for(world: World) -> None:
    async with world.trading() as trading:
        await trading.meets_the_market()
        ann = trading.user()
        await ann.submit(BUY, "1")

        world.marketdata.prices[BTC] = "105"
        world.marketdata.tape.append(streaming_pb2.Gap(dropped=7))

        await ann.sees("105")


async def test_what_was_committed_before_a_crash_is_published_after_it(world: World) -> None:
    async with world.trading(without=["outbox relay"]) as trading:
        await trading.meets_the_market()
        ann = trading.user()
        orders = [await ann.submit(BUY, "1", "99"), await ann.submit(BUY, "2")]
        orders.append(await ann.cancel(orders[0].order_id))
        assert await published(world) == []

    async with world.trading():
        assert await everything_is_published(world) == orders


class CrashesAfterAppending(RedisJournal):
    """A journal whose answer is lost."""

    def __init__(self, journal: RedisJournal) -> None:
        super().__init__(journal._redis, journal._keep)

    async def append(self, topic: str, events: Sequence[tuple[str, bytes]]) -> list[str]:
        await super().append(topic, events)
        raise ConnectionError("the answer was lost")


async def test_an_event_whose_publication_is_in_doubt_is_published_again_and_tells_so_by_its_version(
    world: World,
) -> None:
    async def submit_one() -> None:
        async with world.trading(journal=CrashesAfterAppending) as trading:
            await trading.meets_the_market()
            await trading.user().submit(BUY, "1", "99")
            # The entry can be read before the one who wrote it knows that its answer is lost.
            await asyncio.wait([trading.work["outbox relay"]], timeout=10)
            assert len(await published(world)) == 1

    with pytest.raises(ConnectionError):
        await submit_one()

    async with world.trading():
        first, again = await everything_is_published(world)
        assert first == again


async def test_the_relay_publishes_as_soon_as_it_is_woken(world: World) -> None:
    async with (
        world.trading(without=["outbox relay"]) as trading,
        open_database(SecretStr(world.database_url)) as engine,
        open_journal(SecretStr(world.redis_url)) as journal,
    ):
        relay = OutboxRelay(engine, journal, idle_seconds=3600)
        running = asyncio.create_task(relay.run())
        await trading.meets_the_market()
        order = await trading.user().submit(BUY, "1", "99")

        relay.wake()

        assert await everything_is_published(world) == [order]
        running.cancel()


async def test_orders_are_taken_while_redis_is_empty_and_losing_it_loses_no_order(world: World) -> None:
    async with world.trading() as trading:
        await trading.meets_the_market()
        ann = trading.user()
        first = await ann.submit(BUY, "1")
        await everything_is_published(world)
        async with Redis.from_url(world.redis_url) as redis:
            await redis.flushall()

        second = await ann.submit(SELL, "1")

        assert [order.order_id for order in await ann.orders()] == [second.order_id, first.order_id]
        assert await everything_is_published(world) == [second]


async def test_two_replicas_publish_every_account_s_changes_in_their_order(world: World) -> None:
    async with world.trading() as one, world.trading(without=["market feed"]) as other:
        await one.meets_the_market()

        async def order_and_cancel(trading: RunningTrading, user: str) -> None:
            trader = trading.user(user)
            for _ in range(5):
                order = await one.user(user).submit(BUY, "1", "99")
                await trader.cancel(order.order_id)

        await asyncio.gather(
            *(order_and_cancel(trading, user) for trading in (one, other) for user in (ANN, ANN, BOB, BOB))
        )

        events = await everything_is_published(world)
        assert len(events) == 80
        for account in {event.account_id for event in events}:
            versions: dict[str, list[int]] = {}
            for event in events:
                if event.account_id == account:
                    versions.setdefault(event.order_id, []).append(event.version)
            assert set(map(tuple, versions.values())) == {(1, 2)}


async def read_orders(trader: Trader, count: int, token: str = "") -> tuple[list[order_pb2.Order], str]:
    """``count`` changes from the stream, and the token behind them."""
    orders: list[order_pb2.Order] = []
    stream = resume(
        lambda token: trader.stub.StreamOrders(pb.StreamOrdersRequest(resume_token=token), metadata=trader.metadata),
        resume_token=token,
    )
    async with asyncio.timeout(10):
        async for response in stream:
            orders += response.orders.orders
            if len(orders) >= count:
                break
    return orders, response.resume_token


async def test_a_user_s_stream_has_every_change_of_the_own_orders_and_resumes(world: World) -> None:
    async with world.trading() as trading:
        await trading.meets_the_market()
        ann, bob = trading.user(ANN), trading.user(BOB)
        _, start = await read_orders(ann, 0)

        order = await ann.submit(BUY, "1", "99")
        await bob.submit(BUY, "1")
        world.marketdata.trade("99", "0.5")
        await ann.becomes(order.order_id, PARTLY)
        await ann.cancel(order.order_id)

        orders, token = await read_orders(ann, 2, start)
        more, _ = await read_orders(ann, 1, token) if len(orders) == 2 else ([], token)
        changes = orders + more
        assert [(change.version, change.status) for change in changes] == [(1, OPEN), (2, PARTLY), (3, CANCELLED)]
        assert {change.order_id for change in changes} == {order.order_id}


async def test_the_database_refuses_what_the_rules_forbid(world: World) -> None:
    """The last line of defence, should the rules fail."""
    async with world.trading() as trading:
        await trading.meets_the_market()
        await trading.user().submit(BUY, "1")

    for forbidden in (
        "UPDATE trading.accounts SET cash = -1",
        "UPDATE trading.accounts SET reserved_cash = cash + 1",
        "UPDATE trading.positions SET quantity = -1",
        "UPDATE trading.positions SET reserved = quantity + 1",
        "UPDATE trading.orders SET filled_quantity = quantity + 1",
        "UPDATE trading.orders SET status = 'open'",
    ):
        with pytest.raises(Exception, match="violates check constraint"):
            await rows(world, forbidden)


async def test_the_fills_explain_every_balance_in_the_database(world: World) -> None:
    async with world.trading() as trading:
        await trading.meets_the_market()
        users = [trading.user(ANN), trading.user(BOB)]

        async def trade(trader: Trader, number: int) -> None:
            await trader.submit(BUY, f"1.0{number}")
            await trader.submit(BUY, f"0.{number}5", "99.5")
            await trader.submit(SELL, f"0.3{number}")
            world.marketdata.trade("99.37", f"0.2{number}")
            await trader.submit(SELL, f"0.1{number}", "101")

        await asyncio.gather(*(trade(user, number) for user in users for number in range(1, 6)))

    assert (
        await rows(
            world,
            """
        SELECT user_id FROM trading.accounts a WHERE
            cash <> initial_cash + (
                SELECT coalesce(sum(price * quantity * CASE side WHEN 'buy' THEN -1 ELSE 1 END - fee), 0)
                FROM trading.fills f WHERE f.account_id = a.account_id)
            OR fees_paid <> (SELECT coalesce(sum(fee), 0) FROM trading.fills f WHERE f.account_id = a.account_id)
            OR reserved_cash <> (SELECT coalesce(sum((quantity - filled_quantity) * limit_price
                * (1 + maker_fee_bps / 10000)), 0) FROM trading.orders o
                WHERE o.account_id = a.account_id AND side = 'buy' AND status IN ('open', 'partially_filled'))
        """,
        )
        == []
    )
    assert (
        await rows(
            world,
            """
        SELECT symbol FROM trading.positions p WHERE
            quantity <> (SELECT coalesce(sum(CASE side WHEN 'buy' THEN quantity ELSE -quantity END), 0)
                FROM trading.fills f WHERE f.account_id = p.account_id AND f.symbol = p.symbol)
        """,
        )
        == []
    )
    assert await rows(world, "SELECT count(*) FROM trading.orders") == [(40,)]
