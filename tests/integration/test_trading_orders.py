"""Orders over mTLS on a real database: what is accepted, what is refused, and what it costs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest

from levimesh.trading.v1 import order_pb2
from levimesh.trading.v1 import trading_service_pb2 as pb
from services.runtime.clock import utc_now
from services.trading.errors import MarketDataUnavailable
from tests.mesh import error_info
from tests.trader import BUY, SELL, Trader
from tests.trading import ANN, BOB, RunningTrading, World, a_world
from tests.trading_sources import BTC, ETH

FILLED = order_pb2.ORDER_STATUS_FILLED
OPEN = order_pb2.ORDER_STATUS_OPEN
CANCELLED = order_pb2.ORDER_STATUS_CANCELLED
PARTLY = order_pb2.ORDER_STATUS_PARTIALLY_FILLED


@pytest.fixture
async def world(database_url: Callable[[str], str], redis_url: str, certificates: Path) -> AsyncIterator[World]:
    async with a_world(database_url("trading"), redis_url, certificates) as world:
        yield world


@pytest.fixture
async def trading(world: World) -> AsyncIterator[RunningTrading]:
    async with world.trading() as running:
        await running.meets_the_market()
        yield running


@pytest.fixture
def ann(trading: RunningTrading) -> Trader:
    return trading.user(ANN)


async def assert_untouched(user: Trader) -> None:
    portfolio = await user.portfolio()
    assert list(await user.orders()) == []
    assert portfolio.cash.value == portfolio.equity.value == "100000"
    assert portfolio.balances[0].reserved.value == "0"


async def reserved_cash(user: Trader) -> Decimal:
    return Decimal((await user.portfolio()).balances[0].reserved.value)


async def test_a_market_order_fills_in_the_answer_and_everything_adds_up(ann: Trader) -> None:
    order = await ann.submit(BUY, "2")

    assert (order.status, order.version) == (FILLED, 1)
    assert (order.average_fill_price.value, order.fee.value) == ("100.05", "0.30015")
    portfolio = await ann.portfolio()
    assert portfolio.initial_cash.value == "100000"
    assert portfolio.cash.value == "99799.59985"
    assert portfolio.fees_paid.value == "0.30015"
    (position,) = portfolio.positions
    assert (position.quantity.value, position.cost.value, position.last_price.value) == ("2", "200.40015", "100")
    assert Decimal(portfolio.equity.value) == Decimal(portfolio.cash.value) + Decimal(position.market_value.value)
    assert Decimal(portfolio.unrealized_pnl.value) == Decimal(portfolio.equity.value) - 100_000


async def test_selling_again_realises_the_loss_of_slippage_and_fees(ann: Trader) -> None:
    await ann.submit(BUY, "2")
    await ann.submit(SELL, "2")

    portfolio = await ann.portfolio()
    assert list(portfolio.positions) == []
    assert portfolio.cash.value == portfolio.equity.value
    assert Decimal(portfolio.realized_pnl.value) == Decimal(portfolio.cash.value) - 100_000
    assert Decimal(portfolio.realized_pnl.value) == -(Decimal("0.2") + Decimal(portfolio.fees_paid.value))


async def test_the_same_order_sent_again_is_the_order_as_it_is_now(ann: Trader, world: World) -> None:
    first = await ann.submit(BUY, "1", "99", client_id="mine")
    world.marketdata.trade("99", "0.4")
    await ann.becomes(first.order_id, PARTLY)

    again = await ann.submit(BUY, "1.0", "99.00", client_id="mine")

    assert (again.order_id, again.status, again.version) == (first.order_id, PARTLY, 2)
    assert len(await ann.orders()) == 1


async def test_the_same_id_with_other_content_is_refused_and_changes_nothing(ann: Trader) -> None:
    first = await ann.submit(BUY, "1", "99", client_id="mine")

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ann.submit(BUY, "2", "99", client_id="mine")

    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert error_info(refused.value).reason == "ERROR_REASON_CLIENT_ORDER_ID_REUSED"
    assert list(await ann.orders()) == [first]


async def test_one_order_sent_ten_times_at_once_is_one_order(ann: Trader) -> None:
    orders = await asyncio.gather(*(ann.submit(BUY, "1", client_id="mine") for _ in range(10)))

    assert len({order.order_id for order in orders}) == 1
    assert len(await ann.fills()) == 1
    assert (await ann.portfolio()).positions[0].quantity.value == "1"


async def test_ten_different_orders_at_once_that_the_money_suffices_for_five_of_make_five(ann: Trader) -> None:
    results = await asyncio.gather(*(ann.submit(BUY, "199") for _ in range(10)), return_exceptions=True)

    refused = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert [error_info(error).reason for error in refused] == ["ERROR_REASON_INSUFFICIENT_FUNDS"] * 5
    assert (await ann.portfolio()).positions[0].quantity.value == "995"


async def test_two_users_may_use_the_same_client_order_id(trading: RunningTrading) -> None:
    hers, his = [await trading.user(user).submit(BUY, "1", client_id="mine") for user in (ANN, BOB)]

    assert hers.order_id != his.order_id
    assert hers.account_id != his.account_id


async def test_an_order_of_somebody_else_does_not_exist(trading: RunningTrading) -> None:
    ann, bob, admin = trading.user(ANN), trading.user(BOB), trading.user(BOB, "ROLE_ADMIN")
    order = await ann.submit(BUY, "1", "99")

    for attempt in (bob.order, bob.cancel, admin.order):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await attempt(order.order_id)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        assert error_info(refused.value).reason == "ERROR_REASON_ORDER_NOT_FOUND"
    await assert_untouched(bob)
    assert list(await bob.fills(order_id=order.order_id)) == []


async def test_a_viewer_reads_and_does_not_order(trading: RunningTrading) -> None:
    viewer = trading.user(ANN, "ROLE_VIEWER")

    for attempt in (viewer.submit(), viewer.cancel("6f1c1f0e-0000-4000-8000-000000000009")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await attempt
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert error_info(refused.value).reason == "ERROR_REASON_ROLE_NOT_ALLOWED"
    await assert_untouched(viewer)


@pytest.mark.parametrize(
    ("order", "code", "reason", "metadata"),
    [
        (
            {"quantity": "0.000001"},
            grpc.StatusCode.INVALID_ARGUMENT,
            "PRECISION_EXCEEDED",
            {"field": "quantity", "step": "0.00001"},
        ),
        (
            {"limit": "99.001"},
            grpc.StatusCode.INVALID_ARGUMENT,
            "PRECISION_EXCEEDED",
            {"field": "limit_price", "step": "0.01"},
        ),
        ({"quantity": "0.04"}, grpc.StatusCode.INVALID_ARGUMENT, "NOTIONAL_TOO_SMALL", {"min_notional": "5"}),
        (
            {"quantity": "1000"},
            grpc.StatusCode.FAILED_PRECONDITION,
            "INSUFFICIENT_FUNDS",
            {"required": "100200.075000", "available": "100000", "currency": "USDT"},
        ),
        (
            {"quantity": "1000", "limit": "99.99"},
            grpc.StatusCode.FAILED_PRECONDITION,
            "INSUFFICIENT_FUNDS",
            {"required": "100089.990000", "available": "100000", "currency": "USDT"},
        ),
        (
            {"side": SELL},
            grpc.StatusCode.FAILED_PRECONDITION,
            "INSUFFICIENT_POSITION",
            {"required": "1", "available": "0", "currency": "BTC"},
        ),
        ({"symbol": "XRP-USDT@simex"}, grpc.StatusCode.NOT_FOUND, "SYMBOL_NOT_FOUND", {"symbol": "XRP-USDT@simex"}),
        ({"quantity": "-1"}, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_VIOLATION", {}),
        ({"quantity": "1e2"}, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_VIOLATION", {}),
    ],
)
async def test_a_bad_order_is_refused_and_changes_nothing(
    ann: Trader, order: dict[str, Any], code: grpc.StatusCode, reason: str, metadata: dict[str, str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ann.submit(**{"side": BUY, **order})

    assert refused.value.code() is code
    info = error_info(refused.value)
    assert (info.reason, dict(info.metadata)) == (f"ERROR_REASON_{reason}", metadata)
    await assert_untouched(ann)


async def test_the_largest_numbers_of_the_contract_are_computed_exactly(ann: Trader) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ann.submit(BUY, f"{'9' * 18}.99999", f"{'9' * 18}.99")

    assert error_info(refused.value).reason == "ERROR_REASON_INSUFFICIENT_FUNDS"


async def test_no_order_is_taken_while_the_market_is_silent_but_cancels_are(world: World) -> None:
    late = timedelta()
    async with world.trading(now=lambda: utc_now() + late, market_silence_seconds=15) as trading:
        await trading.meets_the_market()
        ann = trading.user(ANN)
        order = await ann.submit(BUY, "1", "99", client_id="mine")
        late = timedelta(seconds=16)

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ann.submit()

        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert error_info(refused.value).reason == "ERROR_REASON_STALE_MARKET_DATA"
        assert await ann.submit(BUY, "1", "99", client_id="mine") == order
        assert (await ann.cancel(order.order_id)).status == CANCELLED


async def test_a_price_from_long_before_the_start_takes_no_orders(world: World) -> None:
    world.marketdata.received_at[BTC] = utc_now() - timedelta(hours=1)
    async with world.trading() as trading:
        await trading.meets_the_market()
        ann = trading.user(ANN)

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ann.submit()
        assert error_info(refused.value).reason == "ERROR_REASON_STALE_MARKET_DATA"

        await ann.submit(symbol=ETH)


async def test_a_symbol_that_never_traded_takes_no_orders(world: World) -> None:
    del world.marketdata.prices[ETH]
    async with world.trading() as trading:
        with pytest.raises(MarketDataUnavailable, match=f"^the price of {ETH} is not known"):
            await trading.meets_the_market()

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await trading.user().submit(symbol=ETH)

        assert error_info(refused.value).reason == "ERROR_REASON_STALE_MARKET_DATA"
        await trading.user().submit(symbol=BTC)


async def test_a_resting_order_holds_money_fills_by_what_is_traded_and_gives_the_rest_back(
    ann: Trader, world: World
) -> None:
    order = await ann.submit(BUY, "1", "99")
    assert order.status == OPEN
    assert await reserved_cash(ann) == Decimal("99.099")

    world.marketdata.trade("98.5", "0.4")
    partly = await ann.becomes(order.order_id, PARTLY)
    assert (partly.filled_quantity.value, partly.fee.value) == ("0.4", "0.0396")
    assert await reserved_cash(ann) == Decimal("59.4594")

    cancelled = await ann.cancel(order.order_id)
    assert (cancelled.status, cancelled.version) == (CANCELLED, 3)
    assert await ann.cancel(order.order_id) == cancelled
    assert await reserved_cash(ann) == 0
    assert Decimal((await ann.portfolio()).cash.value) == Decimal(100_000) - Decimal("39.6") - Decimal("0.0396")
    (fill,) = await ann.fills(order_id=order.order_id)
    assert (fill.price.value, fill.liquidity, fill.fee_currency) == ("99", order_pb2.LIQUIDITY_MAKER, "USDT")


async def test_a_filled_order_cannot_be_cancelled(ann: Trader) -> None:
    order = await ann.submit()

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ann.cancel(order.order_id)

    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error_info(refused.value).metadata["status"] == "ORDER_STATUS_FILLED"


async def test_resting_orders_of_several_users_share_a_trade_in_the_order_of_their_arrival(
    trading: RunningTrading, world: World
) -> None:
    ann, bob = trading.user(ANN), trading.user(BOB)
    first, second = await ann.submit(BUY, "1", "99"), await bob.submit(BUY, "1", "99")

    world.marketdata.trade("99", "1.5")

    assert (await ann.becomes(first.order_id, FILLED)).filled_quantity.value == "1"
    assert (await bob.becomes(second.order_id, PARTLY)).filled_quantity.value == "0.5"


async def test_a_cancel_that_races_with_fills_ends_in_one_story(ann: Trader, world: World) -> None:
    orders = [await ann.submit(BUY, "1", "99") for _ in range(12)]

    async def cancel(order: order_pb2.Order) -> order_pb2.Order:
        world.marketdata.trade("99", "0.7")
        try:
            return await ann.cancel(order.order_id)
        except grpc.aio.AioRpcError as error:
            if error_info(error).reason != "ERROR_REASON_ORDER_CLOSED":
                raise
            return await ann.order(order.order_id)

    ends = await asyncio.gather(*map(cancel, orders))

    assert {end.status for end in ends} <= {CANCELLED, FILLED}
    fills = await ann.fills()
    for end in ends:
        assert await ann.order(end.order_id) == end
        own = [fill for fill in fills if fill.order_id == end.order_id]
        assert Decimal(end.filled_quantity.value) == sum(Decimal(fill.quantity.value) for fill in own)
        assert end.version == 1 + len(own) + (end.status == CANCELLED)
    portfolio = await ann.portfolio()
    spent = sum(Decimal(f.price.value) * Decimal(f.quantity.value) + Decimal(f.fee.value) for f in fills)
    assert Decimal(portfolio.cash.value) == 100_000 - spent
    assert await reserved_cash(ann) == 0


async def test_orders_and_fills_are_listed_newest_first_in_pages(trading: RunningTrading, ann: Trader) -> None:
    made = [await ann.submit(BUY, "1", client_id=f"order-{number}") for number in range(5)]
    resting = await ann.submit(BUY, "1", "5", symbol=ETH)
    await trading.user(BOB).submit()

    assert [order.order_id for order in await ann.orders()] == [
        resting.order_id,
        *(order.order_id for order in reversed(made)),
    ]
    assert list(await ann.orders(open_only=True)) == [resting]
    assert list(await ann.orders(symbol=ETH)) == [resting]
    assert [fill.order_id for fill in await ann.fills()] == [order.order_id for order in reversed(made)]
    assert [fill.order_id for fill in await ann.fills(order_id=made[2].order_id)] == [made[2].order_id]


async def test_a_page_token_leads_to_the_next_page_of_the_same_listing_only(ann: Trader) -> None:
    made = [await ann.submit(BUY, "1") for _ in range(5)]
    seen, token = [], ""
    while True:
        request = pb.ListOrdersRequest(symbol=BTC, page_size=2, page_token=token)
        page = await ann.stub.ListOrders(request, metadata=ann.metadata)
        seen += [order.order_id for order in page.orders]
        if not (token := page.next_page_token):
            break
        other = pb.ListOrdersRequest(symbol=ETH, page_size=2, page_token=token)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ann.stub.ListOrders(other, metadata=ann.metadata)
        assert error_info(refused.value).reason == "ERROR_REASON_PAGE_TOKEN_INVALID"

    assert seen == [order.order_id for order in reversed(made)]
