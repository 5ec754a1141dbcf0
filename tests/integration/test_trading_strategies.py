"""Signals that become orders."""

import logging
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from levimesh.prediction.v1 import prediction_pb2
from levimesh.trading.v1 import order_pb2, strategy_pb2
from levimesh.trading.v1 import trading_service_pb2 as pb
from tests.mesh import error_info
from tests.trader import Trader, until
from tests.trading import ANN, BOB, RunningTrading, World, a_world
from tests.trading_sources import BTC, ETH, MARKET_TIME

DOWN = prediction_pb2.DIRECTION_DOWN
RUNNING, STOPPED = strategy_pb2.STRATEGY_STATE_RUNNING, strategy_pb2.STRATEGY_STATE_STOPPED
FOLLOWER = "signal-follower"


@pytest.fixture
async def world(database_url: Callable[[str], str], redis_url: str, certificates: Path) -> AsyncIterator[World]:
    async with a_world(database_url("trading"), redis_url, certificates) as world:
        yield world


@pytest.fixture
async def trading(world: World) -> AsyncIterator[RunningTrading]:
    async with world.trading() as running:
        await running.meets_the_market()
        # The price that signals are measured against is one that was traded, not only reported.
        await hears_signals(running)
        yield running


async def hears_signals(trading: RunningTrading) -> None:
    async def is_heard() -> bool:
        try:
            await trading.trading.wants["signals"]()
        except Exception:  # noqa: BLE001 - not yet
            return False
        return True

    await until(is_heard)


async def start(trader: Trader, name: str = FOLLOWER) -> strategy_pb2.Strategy:
    return (await trader.stub.StartStrategy(pb.StartStrategyRequest(strategy=name), metadata=trader.metadata)).strategy


async def stop(trader: Trader, name: str = FOLLOWER) -> strategy_pb2.Strategy:
    return (await trader.stub.StopStrategy(pb.StopStrategyRequest(strategy=name), metadata=trader.metadata)).strategy


async def strategies(trader: Trader) -> list[strategy_pb2.Strategy]:
    response = await trader.stub.ListStrategies(pb.ListStrategiesRequest(), metadata=trader.metadata)
    return list(response.strategies)


async def orders_of(trader: Trader, count: int) -> list[order_pb2.Order]:
    """The trader's orders, the oldest first, once there are ``count``."""

    async def are_there() -> bool:
        return len(await trader.orders()) >= count

    await until(are_there)
    return list(reversed(await trader.orders()))


async def test_a_signal_up_buys_and_a_signal_down_sells_all_of_it(trading: RunningTrading, world: World) -> None:
    ann = trading.user(ANN)
    await start(ann)

    up = world.prediction.signal()
    (bought,) = await orders_of(ann, 1)
    down = world.prediction.signal(DOWN)
    _, sold = await orders_of(ann, 2)

    assert (bought.prediction_id, bought.strategy, bought.client_order_id) == (up, FOLLOWER, f"signal-{up}")
    assert (bought.side, bought.type) == (order_pb2.SIDE_BUY, order_pb2.ORDER_TYPE_MARKET)
    assert (bought.status, bought.quantity.value) == (order_pb2.ORDER_STATUS_FILLED, "100")
    assert (sold.side, sold.quantity.value, sold.prediction_id) == (order_pb2.SIDE_SELL, "100", down)
    assert list((await ann.portfolio()).positions) == []


async def test_a_repeated_signal_never_orders_twice(trading: RunningTrading, world: World) -> None:
    ann = trading.user(ANN)
    await start(ann)
    up = world.prediction.signal()
    (bought,) = await orders_of(ann, 1)
    await ann.submit(order_pb2.SIDE_SELL, bought.quantity.value)

    world.prediction.signal(prediction_id=up)
    last = world.prediction.signal(symbol=ETH)

    orders = await orders_of(ann, 3)
    assert [order.prediction_id for order in orders] == [up, "", last]


async def test_a_signal_that_is_too_old_by_the_market_s_clock_is_skipped(
    trading: RunningTrading, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ann = trading.user(ANN)
    await start(ann)

    with caplog.at_level(logging.INFO):
        world.prediction.signal(closed_at=MARKET_TIME - timedelta(minutes=10, seconds=1))
        fresh = world.prediction.signal(closed_at=MARKET_TIME - timedelta(minutes=10))
        orders = await orders_of(ann, 1)

    assert [order.prediction_id for order in orders] == [fresh]
    assert "signal skipped: too old" in caplog.messages


async def test_signals_that_cannot_be_traded_are_logged_and_the_next_one_is_traded(
    trading: RunningTrading, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ann = trading.user(ANN)
    await start(ann)
    await ann.submit(order_pb2.SIDE_BUY, "998")

    world.prediction.signal(symbol="XRP-USDT@simex")
    world.prediction.signal(symbol=ETH)
    down = world.prediction.signal(DOWN)
    orders = await orders_of(ann, 2)

    assert orders[1].prediction_id == down
    refusals = [record for record in caplog.records if record.message == "signal not traded"]
    assert [record.__dict__["reason"] for record in refusals] == ["STALE_MARKET_DATA", "INSUFFICIENT_FUNDS"]


async def test_a_strategy_that_does_not_run_does_not_trade(trading: RunningTrading, world: World) -> None:
    ann, bob = trading.user(ANN), trading.user(BOB)
    (before,) = await strategies(ann)
    assert (before.strategy, before.state, before.account_id) == (FOLLOWER, STOPPED, "")

    world.prediction.signal()
    await start(ann)
    assert (await stop(ann)).state == STOPPED
    world.prediction.signal()
    await start(bob)
    last = world.prediction.signal()

    (order,) = await orders_of(bob, 1)
    assert order.prediction_id == last
    assert list(await ann.orders()) == []


async def test_starting_and_stopping_again_changes_nothing(trading: RunningTrading) -> None:
    ann = trading.user(ANN)

    started, again = await start(ann), await start(ann)
    assert started == again
    assert (started.state, started.account_id) == (RUNNING, (await ann.portfolio()).account_id)

    stopped, again = await stop(ann), await stop(ann)
    assert stopped == again
    assert stopped.state == STOPPED


async def test_a_strategy_runs_for_one_account_and_only_that_or_an_admin_stops_it(trading: RunningTrading) -> None:
    ann, bob, admin = trading.user(ANN), trading.user(BOB), trading.user(BOB, "ROLE_ADMIN")
    running = await start(ann)

    for attempt in (start, stop):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await attempt(bob)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert error_info(refused.value).reason == "ERROR_REASON_STRATEGY_BUSY"
    assert await strategies(ann) == await strategies(admin) == [running]
    assert [(seen.state, seen.account_id) for seen in await strategies(bob)] == [(RUNNING, "")]

    assert (await stop(admin)).state == STOPPED
    assert (await start(bob)).account_id != running.account_id


async def test_an_unknown_strategy_is_not_found(trading: RunningTrading) -> None:
    for attempt in (start, stop):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await attempt(trading.user(), "no-such")
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        assert error_info(refused.value).reason == "ERROR_REASON_STRATEGY_NOT_FOUND"


async def test_a_viewer_starts_and_stops_nothing(trading: RunningTrading) -> None:
    viewer = trading.user(ANN, "ROLE_VIEWER")

    for attempt in (start, stop):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await attempt(viewer)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_running_strategy_survives_a_restart_and_gets_the_signals_of_the_meantime(world: World) -> None:
    async with world.trading() as trading:
        await trading.meets_the_market()
        await start(trading.user(ANN))
        first = world.prediction.signal()
        await orders_of(trading.user(ANN), 1)
    second = world.prediction.signal(symbol=ETH)

    async with world.trading() as trading:
        orders = await orders_of(trading.user(ANN), 2)
        third = world.prediction.signal(DOWN)
        orders = await orders_of(trading.user(ANN), 3)

    assert [(order.prediction_id, order.symbol) for order in orders] == [(first, BTC), (second, ETH), (third, BTC)]
