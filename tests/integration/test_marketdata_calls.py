"""What marketdata answers: symbols, pages of candles, tickers, streams, and errors that say what to do."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from itertools import chain
from pathlib import Path

import grpc
import pytest

from levimesh.common.v1 import streaming_pb2
from levimesh.marketdata.v1 import candle_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from services.runtime import decimals, timestamps
from services.runtime.clock import utc_now
from tests.marketdata import BTC, ETH, INTERVAL_1M, INTERVAL_5M, MARKET_TIME, MINUTE, World, a_world, until
from tests.mesh import error_info


@pytest.fixture
def world(database_url: Callable[[str], str], redis_url: str, certificates: Path, tmp_path: Path) -> World:
    return a_world(database_url("marketdata"), redis_url, certificates, tmp_path)


async def refusal_of(call: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), error_info(refused.value).reason


async def test_symbols_candles_and_tickers_can_be_read_and_tickers_outlive_a_restart(world: World) -> None:
    began = utc_now()
    async with world.exchange.running():
        async with world.marketdata() as service:
            await service.has_history()
            symbols = (await service.stub.ListSymbols(pb.ListSymbolsRequest(), metadata=service.metadata)).symbols
            assert [symbol.symbol for symbol in symbols] == [BTC, ETH]
            btc = symbols[0]
            assert (btc.base, btc.quote, btc.source, btc.source_symbol) == ("BTC", "USDT", "simex", "BTC/USDT")
            assert (btc.price_step.value, btc.quantity_step.value, btc.min_notional.value) == ("0.01", "0.00001", "5")

            await service.has_traded(BTC, world.exchange)
            ticker = await service.ticker(BTC)

        async with world.marketdata(without=["simex trade recorder"]) as service:
            await service.has_history()
            again = await service.ticker(BTC)
    assert decimals.from_pb(ticker.last_price) > 0
    assert again.last_trade_time.ToDatetime() >= ticker.last_trade_time.ToDatetime()
    assert began < timestamps.from_pb(ticker.last_receive_time) <= timestamps.from_pb(again.last_receive_time)
    assert decimals.from_pb(again.low_24h) <= decimals.from_pb(again.open_24h) <= decimals.from_pb(again.high_24h)


async def test_the_day_of_a_ticker_is_the_sum_of_its_minutes(world: World) -> None:
    async with world.exchange.running(), world.marketdata() as service:
        await service.has_history()
        await service.has_traded(ETH, world.exchange)
        newest = pb.GetCandlesRequest(symbol=ETH, interval=INTERVAL_1M, page_size=24 * 60)
        while True:
            candles = (await service.stub.GetCandles(newest, metadata=service.metadata)).candles
            ticker = await service.ticker(ETH)
            if candles == (await service.stub.GetCandles(newest, metadata=service.metadata)).candles:
                break
    assert len(candles) == 24 * 60
    assert decimals.from_pb(ticker.open_24h) == decimals.from_pb(candles[0].open)
    assert decimals.from_pb(ticker.high_24h) == max(decimals.from_pb(candle.high) for candle in candles)
    assert decimals.from_pb(ticker.low_24h) == min(decimals.from_pb(candle.low) for candle in candles)
    assert decimals.from_pb(ticker.volume_24h) == sum((decimals.from_pb(c.volume) for c in candles), Decimal(0))


async def test_candles_come_in_pages_the_oldest_first_and_without_a_span_the_newest(world: World) -> None:
    async with world.exchange.running(), world.marketdata() as service:
        await service.has_history()
        end = MINUTE.floor(MARKET_TIME)
        start = end - timedelta(minutes=25)
        whole = await service.candles(BTC, INTERVAL_1M, start, end)

        request = pb.GetCandlesRequest(symbol=BTC, interval=INTERVAL_1M, page_size=10)
        request.start_time.CopyFrom(timestamps.to_pb(start))
        request.end_time.CopyFrom(timestamps.to_pb(end))
        pages: list[list[candle_pb2.Candle]] = []
        while not pages or request.page_token:
            response = await service.stub.GetCandles(request, metadata=service.metadata)
            pages.append(list(response.candles))
            request.page_token = response.next_page_token
        newest = pb.GetCandlesRequest(symbol=BTC, interval=INTERVAL_1M, page_size=5)
        last = await service.stub.GetCandles(newest, metadata=service.metadata)

        assert [len(page) for page in pages] == [10, 10, 5]
        assert list(chain.from_iterable(pages)) == whole
        assert list(last.candles) == whole[-5:]
        assert last.next_page_token == ""
        assert whole[0].open_time.ToDatetime() == start.replace(tzinfo=None)
        assert whole[-1].close_time.ToDatetime() == end.replace(tzinfo=None)


async def test_wrong_requests_are_refused_with_the_reason(world: World) -> None:
    nothing = "XRP-USDT@simex"
    async with world.exchange.running(), world.marketdata() as service:
        await service.has_history()
        stub, metadata = service.stub, service.metadata
        not_found = (grpc.StatusCode.NOT_FOUND, "ERROR_REASON_SYMBOL_NOT_FOUND")
        candles = pb.GetCandlesRequest(symbol=nothing, interval=INTERVAL_1M)
        assert await refusal_of(stub.GetCandles(candles, metadata=metadata)) == not_found
        assert await refusal_of(stub.GetTicker(pb.GetTickerRequest(symbol=nothing), metadata=metadata)) == not_found
        trades = stub.StreamTrades(pb.StreamTradesRequest(symbols=[BTC, nothing]), metadata=metadata)
        assert await refusal_of(anext(aiter(trades))) == not_found
        stream = stub.StreamCandles(pb.StreamCandlesRequest(symbols=[nothing], interval=INTERVAL_5M), metadata=metadata)
        assert await refusal_of(anext(aiter(stream))) == not_found

        forged = pb.GetCandlesRequest(symbol=BTC, interval=INTERVAL_1M, page_token="Zm9yZ2Vk")
        assert await refusal_of(stub.GetCandles(forged, metadata=metadata)) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "ERROR_REASON_PAGE_TOKEN_INVALID",
        )
        resumed = stub.StreamTrades(pb.StreamTradesRequest(resume_token="yesterday"), metadata=metadata)
        assert await refusal_of(anext(aiter(resumed))) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "ERROR_REASON_RESUME_TOKEN_INVALID",
        )


async def test_a_symbol_that_has_not_traded_has_no_ticker(world: World) -> None:
    async with world.exchange.running(), world.marketdata(without=["simex trade recorder"]) as service:
        await service.has_history()
        assert await refusal_of(service.ticker(BTC)) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "ERROR_REASON_NO_MARKET_DATA",
        )


async def test_before_the_exchange_was_ever_reached_symbols_are_unavailable_not_unknown(world: World) -> None:
    async with world.marketdata() as service:
        request = pb.StreamTradesRequest(symbols=[BTC])
        stream = service.stub.StreamTrades(request, metadata=service.metadata)
        assert await refusal_of(anext(aiter(stream))) == (
            grpc.StatusCode.UNAVAILABLE,
            "ERROR_REASON_DEPENDENCY_UNAVAILABLE",
        )


async def test_a_market_that_the_exchange_does_not_have_is_named_by_the_health(world: World) -> None:
    async with world.exchange.running(), world.marketdata(symbols=("XRP-USDT",)) as service:

        async def is_named() -> bool:
            return "no spot market XRP-USDT; correct MARKETDATA_SYMBOLS" in service.health.problems["feed:simex"]

        await until(is_named)


async def test_live_trades_are_streamed_in_order_once_each(world: World) -> None:
    async with world.exchange.running(), world.marketdata() as service:
        await service.has_history()
        request = pb.StreamTradesRequest(symbols=[BTC], slow_reader=streaming_pb2.SLOW_READER_DISCONNECT)
        stream = aiter(service.stub.StreamTrades(request, metadata=service.metadata))
        await anext(stream)
        seen: list[int] = []
        while len(seen) < 20:
            arrival = asyncio.ensure_future(anext(stream))
            while not arrival.done():
                await world.exchange.goes_on_for(20)
            seen += [int(trade.trade_id) for trade in arrival.result().trades.trades]
        assert seen == list(range(seen[0], seen[0] + len(seen)))
