"""Order books over gRPC, followed from simex through ccxt."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path

import aiohttp
import grpc
import pytest
from google.rpc import error_details_pb2
from google.type import decimal_pb2
from pydantic import SecretStr
from redis.asyncio import Redis

from levimesh.marketdata.v1 import book_pb2
from levimesh.marketdata.v1 import book_service_pb2 as pb
from services.marketdata.adapters.books import PostgresBooks
from services.marketdata.domain.book import BookSnapshot, OrderBook
from services.runtime import decimals
from services.runtime.database import open_database
from tests.exchange_proxy import ExchangeProxy
from tests.marketdata import BTC, ETH, Exchange, Running, World, a_world, until
from tests.mesh import details_of, error_info

DEPTH = 20
Side = list[tuple[Decimal, Decimal]]


@pytest.fixture
async def world(
    database_url: Callable[[str], str], redis_url: str, certificates: Path, tmp_path: Path
) -> AsyncIterator[World]:
    """A world whose exchange runs."""
    made = a_world(database_url("marketdata"), redis_url, certificates, tmp_path)
    async with made.exchange.running():
        yield made


async def book_of(service: Running, symbol: str = BTC, depth: int = 0) -> book_pb2.OrderBook:
    request = pb.GetOrderBookRequest(symbol=symbol, depth=depth)
    return (await service.books.GetOrderBook(request, metadata=service.metadata)).book


def sides_of(book: book_pb2.OrderBook) -> tuple[Side, Side]:
    def read(side: "list[book_pb2.BookLevel]") -> Side:
        return [(decimals.from_pb(level.price), decimals.from_pb(level.quantity)) for level in side]

    return read(list(book.bids)), read(list(book.asks))


async def told_by(exchange: Exchange, symbol: str = BTC) -> tuple[Side, Side]:
    """The book that the exchange tells over REST."""
    market = symbol.partition("@")[0].replace("-", "")
    url = f"{exchange.url}/api/v3/depth?symbol={market}&limit={DEPTH}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        told = await answer.json()
    bids, asks = ([(Decimal(p), Decimal(q)) for p, q in told[side]] for side in ("bids", "asks"))
    return bids, asks


async def becomes_that_of(service: Running, exchange: Exchange, symbol: str = BTC) -> book_pb2.OrderBook:
    """Wait until the service's book is the exchange's; its clock stands meanwhile."""
    expected = await told_by(exchange, symbol)

    async def is_same() -> bool:
        try:
            return sides_of(await book_of(service, symbol)) == expected
        except grpc.aio.AioRpcError:
            return False

    await until(is_same)
    return await book_of(service, symbol)


async def is_lost(service: Running, exchange: Exchange) -> None:
    """Let the exchange go on until the service says that it has no book."""

    async def has_none() -> bool:
        await exchange.goes_on_for(1, 1)
        try:
            await book_of(service)
        except grpc.aio.AioRpcError as error:
            return bool(error_info(error).reason == "ERROR_REASON_BOOK_NOT_AVAILABLE")
        return False

    await until(has_none)


async def is_available(service: Running, exchange: Exchange, symbol: str = BTC) -> None:
    """Let the exchange go on until the service has a book, and some time after that."""

    async def has_book() -> bool:
        await exchange.goes_on_for(1, 1)
        try:
            await book_of(service, symbol)
        except grpc.aio.AioRpcError:
            return False
        return True

    await until(has_book)
    await exchange.goes_on_for(10, 1)


@asynccontextmanager
async def watching(world: World) -> AsyncIterator[dict[int, BookSnapshot]]:
    """What the book of BTC-USDT looks like after each update id, seen without any loss."""
    seen: dict[int, BookSnapshot] = {}

    async def watch() -> None:
        async with world.source() as source:
            symbol = next(symbol for symbol in await source.symbols() if symbol.symbol == BTC)
            book = OrderBook(BTC)
            while True:
                for change in await source.book(symbol):
                    assert book.apply(change)
                top = book.top(DEPTH)
                assert top is not None
                seen[top.update_id] = top

    task = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def published(world: World) -> list[BookSnapshot | None]:
    """What a reader of the whole line knows after each event of it; None where it knows that there is no book."""
    async with open_database(SecretStr(world.database_url)) as engine:
        events = await PostgresBooks(engine).after(BTC, 0, 100_000)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    reader = OrderBook(BTC)
    known = []
    for event in events:
        assert reader.apply(event)
        known.append(reader.top(DEPTH))
    return known


async def test_the_book_is_the_exchanges(world: World) -> None:
    async with world.marketdata() as service:
        await is_available(service, world.exchange)
        await is_available(service, world.exchange, ETH)
        for symbol in (BTC, ETH):
            book = await becomes_that_of(service, world.exchange, symbol)
            bids, asks = sides_of(book)
            assert (book.symbol, book.consistent, len(bids), len(asks)) == (symbol, True, DEPTH, DEPTH)
            assert decimals.from_pb(book.mid_price) == (bids[0][0] + asks[0][0]) / 2
            assert decimals.from_pb(book.spread) == asks[0][0] - bids[0][0] > 0
            waiting, offered = sum(quantity for _, quantity in bids), sum(quantity for _, quantity in asks)
            assert book.imbalance == pytest.approx(float((waiting - offered) / (waiting + offered)))
            age = world.exchange.now - book.event_time.ToDatetime(world.exchange.now.tzinfo)
            assert abs(age.total_seconds()) < 15
        assert sides_of(await book_of(service, BTC, 3)) == tuple(side[:3] for side in sides_of(await book_of(service)))


async def test_an_amount_costs_what_its_levels_cost(world: World) -> None:
    async with world.marketdata() as service:
        await is_available(service, world.exchange)
        book = await becomes_that_of(service, world.exchange)
        bids, asks = sides_of(book)
        mid = decimals.from_pb(book.mid_price)
        wanted = asks[0][1] + asks[1][1] / 2
        request = pb.GetBookVwapRequest(
            symbol=BTC, side=book_pb2.BOOK_SIDE_ASK, quantity=decimal_pb2.Decimal(value=f"{wanted:f}")
        )
        bought = await service.books.GetBookVwap(request, metadata=service.metadata)
        notional = asks[0][0] * asks[0][1] + asks[1][0] * asks[1][1] / 2
        assert decimals.from_pb(bought.notional) == notional
        assert decimals.from_pb(bought.quantity) == wanted
        assert decimals.from_pb(bought.worst_price) == asks[1][0]
        assert abs(decimals.from_pb(bought.vwap) - notional / wanted) < Decimal("1e-20")
        assert bought.slippage_bps == pytest.approx(float((notional / wanted - mid) / mid * 10_000))
        assert bought.update_id == book.update_id

        whole = sum((price * quantity for price, quantity in bids), Decimal(0))
        request = pb.GetBookVwapRequest(
            symbol=BTC, side=book_pb2.BOOK_SIDE_BID, notional=decimal_pb2.Decimal(value=f"{whole:f}")
        )
        sold = await service.books.GetBookVwap(request, metadata=service.metadata)
        assert abs(decimals.from_pb(sold.quantity) - sum(quantity for _, quantity in bids)) < Decimal("1e-20")
        assert decimals.from_pb(sold.worst_price) == bids[-1][0]
        assert sold.slippage_bps > 0

        request.notional.value = f"{whole + 1:f}"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service.books.GetBookVwap(request, metadata=service.metadata)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        info = error_info(refused.value)
        assert (info.reason, Decimal(info.metadata["available"])) == ("ERROR_REASON_LIQUIDITY_TOO_SMALL", whole)


async def test_what_cannot_be_told_is_refused_with_its_reason(world: World) -> None:
    async with world.marketdata(book_depth=0) as service:

        async def refusal(call: object) -> grpc.aio.AioRpcError:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call  # type: ignore[misc]  # a call of either method
            return refused.value

        async def has_symbols() -> bool:
            return bool(error_info(await refusal(book_of(service))).reason == "ERROR_REASON_BOOK_NOT_AVAILABLE")

        await until(has_symbols)
        no_book = await refusal(book_of(service))
        unknown = await refusal(book_of(service, "DOGE-USDT@simex"))
        assert (no_book.code(), error_info(no_book).reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "ERROR_REASON_BOOK_NOT_AVAILABLE",
        )
        assert (unknown.code(), error_info(unknown).reason) == (
            grpc.StatusCode.NOT_FOUND,
            "ERROR_REASON_SYMBOL_NOT_FOUND",
        )
        bad = [
            pb.GetBookVwapRequest(symbol=BTC, quantity=decimal_pb2.Decimal(value="1")),
            pb.GetBookVwapRequest(symbol=BTC, side=book_pb2.BOOK_SIDE_ASK),
            pb.GetBookVwapRequest(symbol="btc", side=book_pb2.BOOK_SIDE_ASK, quantity=decimal_pb2.Decimal(value="1")),
            *(
                pb.GetBookVwapRequest(
                    symbol=BTC, side=book_pb2.BOOK_SIDE_BID, notional=decimal_pb2.Decimal(value=value)
                )
                for value in ("0", "-1", "1e5", "NaN", "", "0.0", "1" * 19)
            ),
        ]
        for request in bad:
            error = await refusal(service.books.GetBookVwap(request, metadata=service.metadata))
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, request
            assert details_of(error, error_details_pb2.BadRequest).field_violations
        for depth in (-1, 1001):
            assert (await refusal(book_of(service, BTC, depth))).code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_change_that_is_lost_on_the_way_is_noticed_and_no_wrong_book_is_ever_told(world: World) -> None:
    async with (
        ExchangeProxy(world.exchange.url).running() as proxy,
        watching(world) as seen,
        world.marketdata(base_url=proxy.url, book_pace_seconds=0.01) as service,
    ):
        await is_available(service, world.exchange)
        before = (await becomes_that_of(service, world.exchange)).update_id
        for _ in range(3):
            proxy.drop("BTCUSDT")
            await is_lost(service, world.exchange)
            await is_available(service, world.exchange)
        after = await becomes_that_of(service, world.exchange)
        known = await published(world)

        assert proxy.dropped == 3
        assert after.update_id > before
        voids = [index for index, book in enumerate(known) if book is None]
        assert len(voids) == 3
        told = [book for book in known if book is not None]
        compared = [book for book in told if book.update_id in seen]
        assert all(
            (book.bids, book.asks) == (seen[book.update_id].bids, seen[book.update_id].asks) for book in compared
        )
        assert len(compared) > len(told) / 2


async def test_a_book_outlives_a_lost_connection_and_a_restart_of_the_exchange(world: World) -> None:
    async with ExchangeProxy(world.exchange.url).running() as proxy, world.marketdata(base_url=proxy.url) as service:
        await is_available(service, world.exchange)
        await proxy.cut()
        await is_available(service, world.exchange)
        await becomes_that_of(service, world.exchange)


async def test_while_the_exchange_is_down_there_is_no_book(
    database_url: Callable[[str], str], redis_url: str, certificates: Path, tmp_path: Path
) -> None:
    world = a_world(database_url("marketdata"), redis_url, certificates, tmp_path)
    async with world.marketdata() as service:
        async with world.exchange.running():
            await is_available(service, world.exchange)

        await is_lost(service, world.exchange)
        async with world.exchange.running():
            await is_available(service, world.exchange)
            await becomes_that_of(service, world.exchange)


async def test_when_redis_has_lost_everything_the_book_goes_on(world: World) -> None:
    async with world.marketdata() as service, Redis.from_url(world.redis_url) as redis:
        await is_available(service, world.exchange)
        before = (await becomes_that_of(service, world.exchange)).update_id
        await redis.flushall()
        await world.exchange.goes_on_for(20, 1)
        await is_available(service, world.exchange)

        assert (await becomes_that_of(service, world.exchange)).update_id > before


async def test_after_a_restart_the_line_of_the_book_goes_on(world: World) -> None:
    async with world.marketdata() as service:
        await is_available(service, world.exchange)
    before = len(await published(world))
    async with world.marketdata() as service:
        await is_available(service, world.exchange)
        await becomes_that_of(service, world.exchange)

    assert before > 1
    assert len(await published(world)) > before + 1


async def test_every_replica_has_the_same_book_also_one_that_starts_late(world: World) -> None:
    async with world.marketdata() as first, world.marketdata() as early:
        await is_available(first, world.exchange)
        async with world.marketdata() as late:
            await is_available(early, world.exchange)
            await is_available(late, world.exchange)
            for service in (first, early, late):
                await becomes_that_of(service, world.exchange)
            books = [await book_of(service) for service in (first, early, late)]
            assert books[0] == books[1] == books[2]


async def test_when_the_replica_that_leads_dies_another_one_keeps_the_book(world: World) -> None:
    async with AsyncExitStack() as life:
        dies = await life.enter_async_context(world.marketdata(abandoned=True))
        await is_available(dies, world.exchange)
        async with world.marketdata() as stays:
            await is_available(stays, world.exchange)
            before = (await becomes_that_of(stays, world.exchange)).update_id
            await life.aclose()

            async def has_gone_on() -> bool:
                await world.exchange.goes_on_for(1, 1)
                try:
                    return (await book_of(stays)).update_id > before
                except grpc.aio.AioRpcError:
                    return False

            await until(has_gone_on)
            await becomes_that_of(stays, world.exchange)
    # Its line has no hole, whoever told it.
    assert len(await published(world)) > 2
