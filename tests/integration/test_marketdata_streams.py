"""Many instruments in one stream, over mTLS, on a real journal."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from redis.asyncio import Redis

from levimesh.common.v1 import streaming_pb2
from levimesh.marketdata.v1 import book_pb2, candle_pb2, indicator_pb2, stream_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from services.runtime import timestamps
from tests.live import (
    BTC,
    ETH,
    QUIET,
    START,
    Conversation,
    LiveWorld,
    Replica,
    a_book,
    a_candle,
    a_delta,
    a_live_world,
    a_trade,
)
from tests.marketdata import until
from tests.mesh import ending_of, error_info

CONFLATE, DISCONNECT = streaming_pb2.SLOW_READER_CONFLATE, streaming_pb2.SLOW_READER_DISCONNECT
SMA = indicator_pb2.Indicator(kind=indicator_pb2.INDICATOR_KIND_SMA, period=3)
STALL_SECONDS = 0.4


@pytest.fixture
async def world(redis_url: str, certificates: Path) -> AsyncIterator[LiveWorld]:
    async with a_live_world(redis_url, certificates) as world:
        yield world


def trades_of(*symbols: str) -> list[stream_pb2.Instrument]:
    return [stream_pb2.Instrument(channel=stream_pb2.CHANNEL_TRADES, symbol=symbol) for symbol in symbols]


def candles_of(symbol: str, *, include_forming: bool = False) -> stream_pb2.Instrument:
    return stream_pb2.Instrument(
        channel=stream_pb2.CHANNEL_CANDLES,
        symbol=symbol,
        interval=candle_pb2.INTERVAL_1M,
        include_forming=include_forming,
    )


def book_of(symbol: str) -> stream_pb2.Instrument:
    return stream_pb2.Instrument(channel=stream_pb2.CHANNEL_BOOKS, symbol=symbol)


def ticker_of(symbol: str) -> stream_pb2.Instrument:
    return stream_pb2.Instrument(channel=stream_pb2.CHANNEL_TICKERS, symbol=symbol)


def indicator_of(symbol: str, indicator: indicator_pb2.Indicator = SMA) -> stream_pb2.Instrument:
    return stream_pb2.Instrument(
        channel=stream_pb2.CHANNEL_INDICATORS, symbol=symbol, interval=candle_pb2.INTERVAL_1M, indicator=indicator
    )


def subscribe(*instruments: stream_pb2.Instrument, request_id: str = "", **options: Any) -> pb.MarketDataStreamRequest:
    return pb.MarketDataStreamRequest(request_id=request_id, subscribe=pb.Subscribe(instruments=instruments, **options))


def unsubscribe(*instruments: stream_pb2.Instrument) -> pb.MarketDataStreamRequest:
    return pb.MarketDataStreamRequest(unsubscribe=pb.Unsubscribe(instruments=instruments))


async def test_every_instrument_of_a_request_gets_its_own_result(world: LiveWorld) -> None:
    async with world.replica() as replica:
        stream = replica.open(
            subscribe(*trades_of(BTC, BTC, "XRP-USDT@simex"), book_of(BTC), book_of(QUIET), request_id="first")
        )
        first = await stream.next()
        assert first.results.request_id == "first"
        assert [result.instrument.symbol for result in first.results.results] == [
            BTC, BTC, "XRP-USDT@simex", BTC, QUIET,
        ]  # fmt: skip
        assert [result.status for result in first.results.results] == [
            stream_pb2.SUBSCRIPTION_STATUS_SUBSCRIBED,
            stream_pb2.SUBSCRIPTION_STATUS_ALREADY_SUBSCRIBED,
            stream_pb2.SUBSCRIPTION_STATUS_SYMBOL_NOT_FOUND,
            stream_pb2.SUBSCRIPTION_STATUS_SUBSCRIBED,
            stream_pb2.SUBSCRIPTION_STATUS_BOOK_NOT_FOLLOWED,
        ]
        await stream.say(unsubscribe(*trades_of(BTC, ETH)))
        assert await stream.statuses() == ["UNSUBSCRIBED", "NOT_SUBSCRIBED"]
        await stream.say(pb.MarketDataStreamRequest(list_subscriptions=pb.ListSubscriptions()))
        assert [result.instrument for result in (await stream.next()).results.results] == [book_of(BTC)]


async def test_instruments_beyond_the_policys_limit_are_too_many(world: LiveWorld) -> None:
    periods = [
        indicator_of(symbol, indicator_pb2.Indicator(kind=indicator_pb2.INDICATOR_KIND_SMA, period=period))
        for symbol in (BTC, ETH)
        for period in range(2, 501)
    ]
    async with world.replica() as replica:
        stream = replica.open(subscribe(*periods), subscribe(*trades_of(BTC, ETH, QUIET)))
        assert set(await stream.statuses()) == {"SUBSCRIBED"}
        assert await stream.statuses() == ["SUBSCRIBED", "SUBSCRIBED", "TOO_MANY"]
        await stream.say(unsubscribe(*trades_of(BTC)))
        await stream.say(subscribe(*trades_of(QUIET)))
        assert await stream.statuses() == ["UNSUBSCRIBED"]
        assert await stream.statuses() == ["SUBSCRIBED"]


async def test_trades_come_in_order_from_the_subscription_to_its_end(world: LiveWorld) -> None:
    async with world.replica() as replica:
        stream = replica.open(subscribe(*trades_of(BTC)))
        await stream.statuses()
        await world.trade(a_trade(1), a_trade(1, ETH), a_trade(2), a_trade(3))
        assert await stream.trades(3) == [1, 2, 3]
        await stream.say(subscribe(*trades_of(ETH)))
        await stream.say(unsubscribe(*trades_of(BTC)))
        assert await stream.statuses() == ["SUBSCRIBED"]
        assert await stream.statuses() == ["UNSUBSCRIBED"]
        await world.trade(a_trade(4), a_trade(2, ETH))
        message = await stream.next()
        assert [(trade.symbol, trade.sequence) for trade in message.trades.trades] == [(ETH, 2)]


async def test_candles_come_when_they_are_complete_or_corrected_and_forming_ones_where_wanted(
    world: LiveWorld,
) -> None:
    async with world.replica() as replica:
        stream = replica.open(subscribe(candles_of(BTC, include_forming=True), candles_of(ETH)))
        await stream.statuses()
        await world.trade(a_trade(1, price="60001"), a_trade(1, ETH))
        (forming,) = (await stream.next()).candles.candles
        assert (forming.symbol, forming.state, forming.sequence) == (BTC, candle_pb2.CANDLE_STATE_FORMING, 0)
        assert forming.close.value == "60001"

        await world.complete(a_candle(1), a_candle(1, ETH), a_candle(1, revision=1, sequence=2))
        candles = [candle for _ in range(1) for candle in (await stream.next()).candles.candles]
        while len(candles) < 3:
            candles += (await stream.next()).candles.candles
        assert [(candle.symbol, candle.revision) for candle in candles] == [(BTC, 0), (ETH, 0), (BTC, 1)]
        assert {candle.state for candle in candles} == {candle_pb2.CANDLE_STATE_COMPLETE}

        # A trade of a minute that is complete makes no forming candle; one of the next does.
        await world.trade(a_trade(2), a_trade(61, price="60002"))
        (forming,) = (await stream.next()).candles.candles
        assert (timestamps.from_pb(forming.open_time), forming.close.value) == (a_candle(2).open_time, "60002")


async def test_a_book_begins_with_a_snapshot_and_goes_on_with_what_follows_it(world: LiveWorld) -> None:
    async with world.replica() as replica:
        world.books[BTC] = a_book(7)
        stream = replica.open(subscribe(book_of(BTC), book_of(ETH)))
        await stream.statuses()
        (snapshot,) = (await stream.next()).books.events
        assert (snapshot.sequence, snapshot.snapshot.update_id) == (7, 7)
        # What the snapshot holds already is not told again; a book that is not there yet begins when it is.
        await world.change_book(a_delta(6), a_delta(7), a_delta(8))
        await world.change_book(a_delta(4, ETH), a_book(5, ETH), a_delta(6, ETH))
        await world.change_book(a_delta(9))
        events: list[tuple[str, int]] = []
        while len(events) < 4:
            for event in (await stream.next()).books.events:
                symbol = event.snapshot.symbol if event.HasField("snapshot") else event.delta.symbol
                events.append((symbol, event.sequence))
        assert events == [(BTC, 8), (ETH, 5), (ETH, 6), (BTC, 9)]


async def test_the_newest_ticker_comes_at_once_and_after_every_change(world: LiveWorld) -> None:
    async with world.replica() as replica:
        watching = replica.open(subscribe(*trades_of(BTC)))
        await watching.statuses()
        await world.trade(a_trade(1, price="60001"))
        await watching.trades(1)
        stream = replica.open(subscribe(ticker_of(BTC), ticker_of(ETH)))
        await stream.statuses()
        (first,) = (await stream.next()).tickers.tickers
        assert first.last_price.value == "60001"
        await world.trade(a_trade(2, price="60002"), a_trade(3, price="60003"))
        newest = ""
        while newest != "60003":
            (ticker,) = (await stream.next()).tickers.tickers
            newest = ticker.last_price.value
        await world.trade(a_trade(1, ETH, price="3000"))
        assert [ticker.symbol for ticker in (await stream.next()).tickers.tickers] == [ETH]


async def test_an_indicator_comes_after_every_candle_and_anew_after_a_correction(world: LiveWorld) -> None:
    async with world.replica() as replica:
        stream = replica.open(subscribe(indicator_of(BTC)))
        await stream.statuses()
        await world.complete(a_candle(1, close="10"), a_candle(2, close="20"), a_candle(1, ETH))
        await world.complete(a_candle(3, close="30"))
        (series,) = (await stream.next()).indicators.series
        assert (series.symbol, series.interval, series.indicator) == (BTC, candle_pb2.INTERVAL_1M, SMA)
        assert [(timestamps.from_pb(p.open_time), p.values["sma"]) for p in series.points] == [
            (a_candle(3).open_time, 20.0)
        ]
        await world.complete(a_candle(4, close="40"))
        assert [p.values["sma"] for p in (await stream.next()).indicators.series[0].points] == [30.0]
        await world.complete(a_candle(3, close="33", revision=1, sequence=5))
        (series,) = (await stream.next()).indicators.series
        assert [p.values["sma"] for p in series.points] == [21.0, 31.0]


async def test_an_indicator_is_computed_once_for_all_streams(world: LiveWorld) -> None:
    async with world.replica() as replica:
        streams = [replica.open(subscribe(indicator_of(BTC))) for _ in range(5)]
        for stream in streams:
            await stream.statuses()
        await world.complete(a_candle(1))
        await world.complete(a_candle(2))
        world.stored.reads = 0
        await world.complete(a_candle(3))
        for stream in streams:
            assert len((await stream.next()).indicators.series) == 1
        assert world.stored.reads <= 2 * 3


async def test_one_token_resumes_all_channels_after_a_restart(world: LiveWorld) -> None:
    everything = [*trades_of(BTC), candles_of(BTC), book_of(BTC), indicator_of(BTC)]
    world.books[BTC] = a_book(1)
    for number in range(1, 4):
        await world.complete(a_candle(number))
    async with world.replica() as replica:
        stream = replica.open(subscribe(*everything))
        await stream.statuses()
        await world.trade(a_trade(1))
        seen: set[str | None] = set()
        while seen != {"books", "trades"}:
            seen.add((await stream.next()).WhichOneof("event"))
        token = stream.token
    await world.trade(a_trade(2), a_trade(3))
    await world.complete(a_candle(4))
    await world.change_book(a_delta(2))
    assert len(token) < 512
    async with world.replica() as replica:
        stream = replica.open(subscribe(*everything, resume_token=token))
        results = await stream.next()
        assert results.HasField("results")
        assert results.resume_token == token
        found: dict[str, list[int]] = {"trades": [], "candles": [], "books": [], "indicators": []}
        while not all(found.values()) or len(found["trades"]) < 2:
            message = await stream.next()
            found["trades"] += [trade.sequence for trade in message.trades.trades]
            found["candles"] += [candle.sequence for candle in message.candles.candles]
            found["books"] += [event.sequence for event in message.books.events]
            found["indicators"] += [len(series.points) for series in message.indicators.series]
        assert found == {"trades": [2, 3], "candles": [4], "books": [2], "indicators": [1]}


async def test_a_resumed_stream_goes_on_from_any_of_its_messages(world: LiveWorld) -> None:
    async with world.replica() as replica:
        stream = replica.open(subscribe(*trades_of(BTC), *trades_of(ETH)))
        await stream.statuses()
        await world.trade(a_trade(1))
        await stream.trades(1)
        token = stream.token
        await world.trade(*(a_trade(sequence) for sequence in range(2, 50)), a_trade(1, ETH))
        assert sorted(await stream.trades(49)) == sorted([*range(2, 50), 1])
        again = replica.open(subscribe(*trades_of(BTC), resume_token=token))
        await again.statuses()
        assert await again.trades(48) == list(range(2, 50))


async def test_what_the_journal_has_lost_is_told_as_a_gap_of_its_instruments(world: LiveWorld) -> None:
    async with world.replica() as replica:
        stream = replica.open(subscribe(*trades_of(BTC, ETH), book_of(BTC)))
        await stream.statuses()
        await world.trade(a_trade(1))
        await world.change_book(a_book(1))
        while (await stream.next()).WhichOneof("event") != "books":
            pass
        token = stream.token
        await replica.stops_reading()
        async with Redis.from_url(world.redis_url) as redis:
            await redis.flushall()
        await world.trade(a_trade(2))
        await world.change_book(a_delta(2))
        world.books[BTC] = a_book(2)
        replica.reads_again()

        # The stream that was open is told, and so is one that resumes.
        await gaps_and_book(stream)
        again = replica.open(subscribe(*trades_of(BTC, ETH), book_of(BTC), resume_token=token))
        await again.statuses()
        await gaps_and_book(again)
        await world.trade(a_trade(3))
        assert await again.trades(1) == [3]


async def gaps_and_book(reader: Conversation) -> None:
    """Every instrument has lost something, and the book begins anew."""
    gaps: list[stream_pb2.InstrumentGap] = []
    books: list[book_pb2.BookEvent] = []
    while len(gaps) < 2 or not books:
        message = await reader.next()
        if message.HasField("gap"):
            gaps.append(message.gap)
        books += message.books.events
    assert {gap.gap.cause for gap in gaps} == {streaming_pb2.GAP_CAUSE_RETENTION}
    assert sorted([list(gap.instruments) for gap in gaps], key=len) == [[book_of(BTC)], trades_of(BTC, ETH)]
    assert [event.sequence for event in books] == [2]


async def test_a_reader_that_conflates_is_told_how_much_it_missed_and_gets_the_newest(world: LiveWorld) -> None:
    async with world.replica(capacity=10, stalled_seconds=STALL_SECONDS) as replica:
        stalled = replica.open(subscribe(*trades_of(BTC), slow_reader=CONFLATE))
        await stalled.statuses()
        count = await fill(world, replica)
        seen: list[int] = []
        dropped = 0
        while not seen or seen[-1] < count:
            message = await stalled.next()
            seen += [trade.sequence for trade in message.trades.trades]
            if message.HasField("gap"):
                assert message.gap.gap.cause == streaming_pb2.GAP_CAUSE_CONFLATED
                assert list(message.gap.instruments) == trades_of(BTC)
                dropped += message.gap.gap.dropped
        assert seen == sorted(set(seen))
        assert dropped > 0
        assert len(seen) + dropped == count


async def test_a_reader_that_takes_nothing_is_cut_and_told_so_when_it_reads_on(world: LiveWorld) -> None:
    async with world.replica(stalled_seconds=STALL_SECONDS) as replica:
        stalled = replica.open(subscribe(*trades_of(BTC), slow_reader=DISCONNECT))
        await stalled.statuses()
        await fill(world, replica)
        method = {"grpc_method": "/levimesh.marketdata.v1.MarketDataService/MarketDataStream"}

        async def is_over() -> bool:
            return replica.served.registry.get_sample_value("grpc_server_running", method) == 0

        # The handler ends though nobody reads.
        await until(is_over)
        assert await ending_of(stalled.call) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_SLOW_READER")


async def fill(world: LiveWorld, replica: Replica) -> int:
    """Publish far more than fits between the server and a reader that reads nothing, while another reads it all."""
    other = replica.open(subscribe(*trades_of(BTC)))
    await other.statuses()
    number = 0
    for _ in range(80):
        batch = [a_trade(number + index + 1, trade_id="x" * 100_000) for index in range(5)]
        number += len(batch)
        await world.trade(*batch)
        await other.trades(len(batch))
    other.leave()
    return number


@pytest.mark.parametrize("token", ["yesterday", "x:1-1", "t:yesterday", "t:1-1,t:1-1", "t:1-1,", "t"])
async def test_a_made_up_token_is_refused(world: LiveWorld, token: str) -> None:
    async with world.replica() as replica:
        stream = replica.open(subscribe(*trades_of(BTC), resume_token=token))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stream.next()
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error_info(refused.value).reason == "ERROR_REASON_RESUME_TOKEN_INVALID"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (subscribe(*trades_of(ETH), resume_token="t:1-1"), "subscribe.resume_token"),
        (subscribe(*trades_of(ETH), slow_reader=CONFLATE), "subscribe.slow_reader"),
        (pb.MarketDataStreamRequest(), "action"),
        (
            subscribe(indicator_of(BTC, indicator_pb2.Indicator(kind=indicator_pb2.INDICATOR_KIND_EMA, period=1))),
            "subscribe.instruments[0].indicator.period",
        ),
    ],
)
async def test_a_later_request_that_breaks_a_rule_ends_the_stream(
    world: LiveWorld, request_: pb.MarketDataStreamRequest, field: str
) -> None:
    async with world.replica() as replica:
        stream = replica.open(subscribe(*trades_of(BTC)), request_)
        await stream.statuses()
        end = (await stream.next()).end
        assert end.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert field in end.message
        assert await ending_of(stream.call) == (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_FIELD_VIOLATION")


async def test_a_stream_without_requests_beats_at_the_interval_that_was_asked_for_last(world: LiveWorld) -> None:
    async with world.replica() as replica:
        request = subscribe(*trades_of(BTC))
        request.subscribe.heartbeat_interval.FromSeconds(1)
        stream = replica.open(request)
        await stream.statuses()
        beat = await stream.next(heartbeats=True)
        assert beat.HasField("heartbeat")
        assert beat.resume_token == stream.token
        await stream.call.done_writing()
        await world.trade(a_trade(1))
        assert await stream.trades(1) == [1]


async def test_a_client_without_streams_of_requests_gets_the_same(world: LiveWorld) -> None:
    async with world.replica() as replica:
        request = pb.StreamMarketDataRequest(instruments=[*trades_of(BTC), candles_of(BTC)])
        call = replica.stub.StreamMarketData(request, metadata=replica.metadata)
        stream = aiter(call)
        results = await anext(stream)
        assert len(results.results.results) == 2
        await world.trade(a_trade(1))
        first = await anext(stream)
        assert [trade.sequence for trade in first.trades.trades] == [1]
        await world.trade(a_trade(2))
        resumed = pb.StreamMarketDataRequest(instruments=request.instruments, resume_token=first.resume_token)
        again = aiter(replica.stub.StreamMarketData(resumed, metadata=replica.metadata))
        assert (await anext(again)).resume_token == first.resume_token
        assert [trade.sequence for trade in (await anext(again)).trades.trades] == [2]


async def test_a_stream_of_candles_has_forming_ones_where_wanted_and_resumes(world: LiveWorld) -> None:
    async with world.replica() as replica:
        request = pb.StreamCandlesRequest(interval=candle_pb2.INTERVAL_1M, include_forming=True)
        stream = aiter(replica.stub.StreamCandles(request, metadata=replica.metadata))
        first = await anext(stream)
        assert first.HasField("heartbeat")
        await world.trade(a_trade(1), a_trade(1, ETH))
        forming = await anext(stream)
        assert {candle.symbol for candle in forming.candles.candles} == {BTC, ETH}
        assert {candle.state for candle in forming.candles.candles} == {candle_pb2.CANDLE_STATE_FORMING}
        await world.complete(a_candle(1))
        complete = await anext(stream)
        assert [candle.sequence for candle in complete.candles.candles] == [1]
        assert timestamps.from_pb(complete.candles.candles[0].open_time) == START

        request.resume_token = first.resume_token
        again = aiter(replica.stub.StreamCandles(request, metadata=replica.metadata))
        assert [candle.sequence for candle in (await anext(again)).candles.candles] == [1]


async def test_indicators_are_computed_for_the_newest_candles_or_a_span(world: LiveWorld) -> None:
    for number in range(1, 11):
        await world.complete(a_candle(number, close=str(10 * number)))
    async with world.replica() as replica:
        ema = indicator_pb2.Indicator(kind=indicator_pb2.INDICATOR_KIND_EMA)
        request = pb.GetIndicatorsRequest(symbol=BTC, interval=candle_pb2.INTERVAL_1M, indicators=[SMA, ema], limit=2)
        newest = await replica.stub.GetIndicators(request, metadata=replica.metadata)
        assert [point.values["sma"] for point in newest.series[0].points] == [80.0, 90.0]
        # What is left out takes the customary value; there are too few candles for it.
        assert (newest.series[1].indicator.period, list(newest.series[1].points)) == (20, [])

        request.start_time.CopyFrom(timestamps.to_pb(a_candle(4).open_time))
        request.end_time.CopyFrom(timestamps.to_pb(a_candle(7).open_time))
        request.limit = 0
        of_span = await replica.stub.GetIndicators(request, metadata=replica.metadata)
        points = of_span.series[0].points
        assert [point.values["sma"] for point in points] == [30.0, 40.0, 50.0]
        assert timestamps.from_pb(points[0].open_time) == a_candle(4).open_time


async def test_wrong_requests_for_indicators_are_refused(world: LiveWorld) -> None:
    async with world.replica() as replica:
        for symbol, period, reason in ((QUIET, 1, "FIELD_VIOLATION"), ("XRP-USDT@simex", 3, "SYMBOL_NOT_FOUND")):
            wanted = indicator_pb2.Indicator(kind=indicator_pb2.INDICATOR_KIND_RSI, period=period)
            request = pb.GetIndicatorsRequest(symbol=symbol, interval=candle_pb2.INTERVAL_1M, indicators=[wanted])
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await replica.stub.GetIndicators(request, metadata=replica.metadata)
            assert error_info(refused.value).reason == f"ERROR_REASON_{reason}"


async def test_a_forming_candle_is_whole_though_it_began_before_anybody_wanted_it(world: LiveWorld) -> None:
    async with world.replica() as replica:
        await world.trade(a_trade(301, price="60001"))
        await world.trade(*(a_trade(sequence) for sequence in (302, 303)))
        hour = stream_pb2.Instrument(
            channel=stream_pb2.CHANNEL_CANDLES, symbol=BTC, interval=candle_pb2.INTERVAL_1H, include_forming=True
        )
        first = replica.open(subscribe(hour, candles_of(BTC, include_forming=True)))
        await first.statuses()
        volumes: dict[int, str] = {}
        while len(volumes) < 2:
            for candle in (await first.next()).candles.candles:
                volumes[candle.interval] = candle.volume.value
        assert volumes == {candle_pb2.INTERVAL_1H: "3", candle_pb2.INTERVAL_1M: "3"}
        await world.trade(a_trade(304))
        while "4" not in volumes.values():
            for candle in (await first.next()).candles.candles:
                volumes[candle.interval] = candle.volume.value


async def test_the_last_page_of_candles_ends_with_the_forming_one_where_wanted(world: LiveWorld) -> None:
    await world.complete(a_candle(1))
    await world.trade(a_trade(61, price="60001"))
    async with world.replica() as replica:
        request = pb.GetCandlesRequest(symbol=BTC, interval=candle_pb2.INTERVAL_1M, include_forming=True)
        candles = (await replica.stub.GetCandles(request, metadata=replica.metadata)).candles
        assert [(candle.state, candle.close.value) for candle in candles] == [
            (candle_pb2.CANDLE_STATE_COMPLETE, "60000"),
            (candle_pb2.CANDLE_STATE_FORMING, "60001"),
        ]
        request.end_time.CopyFrom(timestamps.to_pb(a_candle(2).open_time))
        candles = (await replica.stub.GetCandles(request, metadata=replica.metadata)).candles
        assert [candle.state for candle in candles] == [candle_pb2.CANDLE_STATE_COMPLETE]


@pytest.mark.parametrize("instrument", [*trades_of(BTC), ticker_of(BTC), candles_of(BTC, include_forming=True)])
async def test_nobody_is_told_that_nothing_happened_while_the_journal_cannot_be_read(
    world: LiveWorld, instrument: stream_pb2.Instrument
) -> None:
    async with world.replica() as replica:
        request = subscribe(instrument)
        request.subscribe.heartbeat_interval.FromSeconds(1)
        stream = replica.open(request)
        await stream.statuses()
        await replica.stops_reading()
        assert await ending_of(stream.call) == (grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_DEPENDENCY_UNAVAILABLE")
