"""What did not arrive is noticed, fetched, and put into the candles; what is missing or wrong can be asked for."""

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from sqlalchemy import text

from levimesh.marketdata.v1 import candle_pb2, quality_pb2, stream_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as market_pb
from levimesh.marketdata.v1 import quality_service_pb2 as pb
from levimesh.marketdata.v1 import quality_service_pb2_grpc as pb_grpc
from services.marketdata.adapters.candles import PostgresCandles
from services.marketdata.adapters.trades import PostgresTrades
from services.marketdata.domain.market import Interval, Trade
from services.runtime import timestamps
from services.runtime.database import open_database
from tests.marketdata import (
    BTC,
    ETH,
    INTERVAL_1M,
    INTERVAL_5M,
    MARKET_TIME,
    MINUTE,
    Running,
    World,
    a_world,
    until,
    values_of,
)
from tests.mesh import a_token, bearing, error_info
from tests.unit.marketdata.keeping import summed_up

if TYPE_CHECKING:
    from levimesh.marketdata.v1.quality_service_pb2_grpc import DataQualityServiceAsyncStub

QUALITY = pb.DESCRIPTOR.services_by_name["DataQualityService"]
ADMIN = bearing(a_token("ROLE_ADMIN"))
FROM_TRADES = {
    Interval.ONE_SECOND: candle_pb2.INTERVAL_1S,
    Interval.FIVE_SECONDS: candle_pb2.INTERVAL_5S,
    MINUTE: INTERVAL_1M,
}


@pytest.fixture
def world(database_url: Callable[[str], str], redis_url: str, certificates: Path, tmp_path: Path) -> World:
    return a_world(database_url("marketdata"), redis_url, certificates, tmp_path)


def quality(service: Running) -> "DataQualityServiceAsyncStub":
    return pb_grpc.DataQualityServiceStub(service.served.channel(QUALITY))


async def gaps_of(service: Running, symbol: str) -> Sequence[quality_pb2.DataGap]:
    return (await quality(service).ListGaps(pb.ListGapsRequest(symbol=symbol), metadata=ADMIN)).gaps


async def all_repaired(service: Running, symbol: str, count: int = 1) -> Sequence[quality_pb2.DataGap]:
    """Wait until a symbol has had gaps and none is open."""

    async def are_repaired() -> bool:
        gaps = await gaps_of(service, symbol)
        return len(gaps) >= count and all(gap.state == quality_pb2.GAP_STATE_REPAIRED for gap in gaps)

    await until(are_repaired, 30)
    return await gaps_of(service, symbol)


def longest(gaps: Sequence[quality_pb2.DataGap]) -> quality_pb2.DataGap:
    """The gap that lasted longest; on a busy machine there may be others."""
    return max(gaps, key=lambda gap: timestamps.from_pb(gap.end_time) - timestamps.from_pb(gap.start_time))


async def stored_trades(world: World, symbol: str) -> list[Trade]:
    async with open_database(world.settings().database_url) as engine:
        return await PostgresTrades(engine).after(symbol, 0, 1_000_000)


async def has_the_candles_of_its_trades(world: World, service: Running, symbol: str) -> None:
    """Wait until the stored trades have no hole, and the candles of all short intervals are theirs."""

    async def has_them() -> bool:
        trades = sorted(await stored_trades(world, symbol), key=lambda trade: trade.place)
        numbers = [trade.number for trade in trades]
        expected = summed_up(trades)
        async with open_database(world.settings().database_url) as engine:
            candles = {
                interval: await PostgresCandles(engine).candles(
                    symbol, interval, trades[0].trade_time, interval.floor(trades[-1].trade_time), 100_000
                )
                for interval in FROM_TRADES
            }
        return numbers == list(range(numbers[0] or 0, (numbers[-1] or 0) + 1)) and all(
            [values_of(candle) for candle in found if candle.open_time > trades[0].trade_time]
            == [values_of(candle) for candle in expected[interval]]
            for interval, found in candles.items()
        )

    await until(has_them, 30)


async def verified(
    service: Running, symbol: str, interval: "candle_pb2.Interval.ValueType", start: datetime, end: datetime
) -> pb.VerifyCandlesResponse:
    request = pb.VerifyCandlesRequest(
        symbol=symbol, interval=interval, start_time=timestamps.to_pb(start), end_time=timestamps.to_pb(end)
    )
    return await quality(service).VerifyCandles(request, metadata=ADMIN)


async def test_trades_that_were_missed_while_the_exchange_was_away_are_fetched_and_put_into_the_candles(
    world: World,
) -> None:
    async with world.marketdata() as service:
        async with world.exchange.running():
            await service.has_history()
            await service.has_traded(BTC, world.exchange)
            await world.exchange.goes_on_for(90)
        await service.becomes("feed:simex", holds=False)
        world.exchange.clock.advance(130)
        async with world.exchange.running():
            await service.has_traded(BTC, world.exchange)
            await service.has_traded(ETH, world.exchange)
            await world.exchange.goes_on_for(60)
            for symbol in (BTC, ETH):
                gap = longest(await all_repaired(service, symbol))
                assert gap.evidence == quality_pb2.GAP_EVIDENCE_TRADE_ID
                missed = int(gap.last_trade_id) - int(gap.first_trade_id) + 1
                assert gap.repaired_rows == missed > 0
                assert timestamps.from_pb(gap.end_time) - timestamps.from_pb(gap.start_time) > timedelta(seconds=100)
                await has_the_candles_of_its_trades(world, service, symbol)
            end = MINUTE.floor(world.exchange.now)
            for interval in (INTERVAL_1M, INTERVAL_5M, candle_pb2.INTERVAL_15M):
                answer = await verified(service, BTC, interval, end - timedelta(minutes=30), end - timedelta(minutes=1))
                assert answer.compared == answer.equal > 0


async def test_trades_that_happened_between_two_leaders_are_fetched_by_the_next_one(world: World) -> None:
    async with world.exchange.running():
        async with world.marketdata(abandoned=True) as service:
            await service.has_history()
            await service.has_traded(BTC, world.exchange)
            await world.exchange.goes_on_for(60)
        before = await stored_trades(world, BTC)
        await world.exchange.goes_on_for(200)
        async with world.marketdata() as service:
            await service.has_history()

            async def is_noticed() -> bool:
                # The first trades of the stream may be those that the first leader stored and did not publish.
                await world.exchange.goes_on_for(20)
                return bool(await gaps_of(service, BTC))

            await until(is_noticed, 60)
            gap = longest(await all_repaired(service, BTC))
            newest = max(before, key=lambda trade: trade.place)
            assert (gap.first_trade_id, timestamps.from_pb(gap.start_time)) == (
                str((newest.number or 0) + 1),
                newest.trade_time,
            )
            await has_the_candles_of_its_trades(world, service, BTC)


async def test_gaps_are_listed_by_pages_and_by_what_became_of_them(world: World) -> None:
    async with world.exchange.running():
        for _ in range(3):
            async with world.marketdata() as service:
                await service.has_history()
                await service.has_traded(BTC, world.exchange)
                await world.exchange.goes_on_for(20)
            await world.exchange.goes_on_for(60)
        async with world.marketdata() as service:
            await service.has_history()
            gaps = await all_repaired(service, BTC, 2)
            stub = quality(service)
            request = pb.ListGapsRequest(symbol=BTC, state=quality_pb2.GAP_STATE_REPAIRED, page_size=1)
            first = await stub.ListGaps(request, metadata=ADMIN)
            request.page_token = first.next_page_token
            second = await stub.ListGaps(request, metadata=ADMIN)
            assert [*first.gaps, *second.gaps] == list(gaps)[:2]
            assert gaps[0].start_time.ToDatetime() > gaps[1].start_time.ToDatetime()
            opened = pb.ListGapsRequest(symbol=BTC, state=quality_pb2.GAP_STATE_OPEN)
            assert not (await stub.ListGaps(opened, metadata=ADMIN)).gaps
            late = pb.ListGapsRequest(symbol=BTC, start_time=timestamps.to_pb(world.exchange.now))
            assert not (await stub.ListGaps(late, metadata=ADMIN)).gaps


def a_job(channel: "stream_pb2.Channel.ValueType", start: datetime, **values: Any) -> pb.CreateBackfillJobRequest:
    return pb.CreateBackfillJobRequest(
        backfill_job_id=str(uuid.uuid4()), symbol=BTC, channel=channel, start_time=timestamps.to_pb(start), **values
    )


@asynccontextmanager
async def trading(world: World) -> AsyncIterator[Running]:
    """A service that has history, and trades."""
    async with world.exchange.running(), world.marketdata() as service:
        await service.has_history()
        await service.has_traded(BTC, world.exchange)
        yield service


async def done(service: Running, job_id: str) -> quality_pb2.BackfillJob:
    """Wait until a job is done."""
    request = pb.GetBackfillJobRequest(backfill_job_id=job_id)

    async def is_done() -> bool:
        job = (await quality(service).GetBackfillJob(request, metadata=ADMIN)).backfill_job
        assert job.state != quality_pb2.BACKFILL_STATE_FAILED, job.problem
        return job.state == quality_pb2.BACKFILL_STATE_DONE

    await until(is_done, 30)
    return (await quality(service).GetBackfillJob(request, metadata=ADMIN)).backfill_job


async def test_past_trades_are_fetched_by_a_job_and_short_candles_are_built_of_them(world: World) -> None:
    async with trading(world) as service:
        start = MARKET_TIME - timedelta(minutes=20)
        request = a_job(stream_pb2.CHANNEL_TRADES, start)
        created = (await quality(service).CreateBackfillJob(request, metadata=ADMIN)).backfill_job
        job = await done(service, created.backfill_job_id)
        assert job.fetched_rows >= job.new_rows > 0
        assert timestamps.from_pb(job.position) == timestamps.from_pb(job.end_time) >= MARKET_TIME
        await world.exchange.goes_on_for(40)
        trades = await stored_trades(world, BTC)
        assert start <= min(trade.trade_time for trade in trades) < start + timedelta(minutes=1)
        await has_the_candles_of_its_trades(world, service, BTC)

        # The same again fetches everything, and finds nothing new.
        again = a_job(stream_pb2.CHANNEL_TRADES, start, end_time=created.create_time)
        again.end_time.CopyFrom(timestamps.to_pb(MARKET_TIME))
        await quality(service).CreateBackfillJob(again, metadata=ADMIN)
        assert (await done(service, again.backfill_job_id)).new_rows == 0


async def test_older_candles_are_fetched_by_a_job_with_the_longer_ones_and_others_stay_as_they_are(
    world: World,
) -> None:
    async with trading(world) as service:
        start = Interval.ONE_DAY.floor(MARKET_TIME) - timedelta(days=1)
        request = a_job(stream_pb2.CHANNEL_CANDLES, start, interval=candle_pb2.INTERVAL_15M)
        request.end_time.CopyFrom(timestamps.to_pb(start + timedelta(hours=6)))
        before = await service.candles(BTC, candle_pb2.INTERVAL_15M, start, start + timedelta(hours=6))
        await quality(service).CreateBackfillJob(request, metadata=ADMIN)
        job = await done(service, request.backfill_job_id)
        assert (job.fetched_rows, job.new_rows) == (24, 0)
        assert await service.candles(BTC, candle_pb2.INTERVAL_15M, start, start + timedelta(hours=6)) == before
        assert {candle.origin for candle in before} == {candle_pb2.CANDLE_ORIGIN_ROLL_UP}

        async with open_database(world.settings().database_url) as engine, engine.begin() as connection:
            await connection.execute(
                text(
                    "DELETE FROM marketdata.candles WHERE symbol = :symbol AND interval_seconds IN (300, 3600)"
                    " AND open_time >= :start AND open_time < :end"
                ),
                {"symbol": BTC, "start": start, "end": start + timedelta(hours=1)},
            )
        request = a_job(stream_pb2.CHANNEL_CANDLES, start, interval=INTERVAL_5M)
        request.end_time.CopyFrom(timestamps.to_pb(start + timedelta(hours=2)))
        await quality(service).CreateBackfillJob(request, metadata=ADMIN)
        job = await done(service, request.backfill_job_id)
        assert (job.fetched_rows, job.new_rows) == (24, 12)
        hours = await service.candles(BTC, candle_pb2.INTERVAL_1H, start, start + timedelta(hours=2))
        assert [values_of(hour)[1] for hour in hours] == [start, start + timedelta(hours=1)]


async def test_a_job_is_created_once_and_another_one_of_its_id_is_refused(world: World) -> None:
    async with trading(world) as service:
        stub = quality(service)
        request = a_job(stream_pb2.CHANNEL_TRADES, MARKET_TIME - timedelta(minutes=1))
        first = (await stub.CreateBackfillJob(request, metadata=ADMIN)).backfill_job
        await done(service, first.backfill_job_id)
        second = (await stub.CreateBackfillJob(request, metadata=ADMIN)).backfill_job
        assert (second.backfill_job_id, second.create_time) == (first.backfill_job_id, first.create_time)

        request.symbol = ETH
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.CreateBackfillJob(request, metadata=ADMIN)
        assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
        assert error_info(refused.value).reason == "ERROR_REASON_BACKFILL_JOB_EXISTS"

        jobs = await stub.ListBackfillJobs(pb.ListBackfillJobsRequest(symbol=BTC), metadata=ADMIN)
        assert [job.backfill_job_id for job in jobs.backfill_jobs] == [first.backfill_job_id]
        nothing = str(uuid.uuid4())
        with pytest.raises(grpc.aio.AioRpcError) as missing:
            await stub.GetBackfillJob(pb.GetBackfillJobRequest(backfill_job_id=nothing), metadata=ADMIN)
        assert error_info(missing.value).reason == "ERROR_REASON_BACKFILL_JOB_NOT_FOUND"
        with pytest.raises(grpc.aio.AioRpcError) as not_there:
            await stub.CancelBackfillJob(pb.CancelBackfillJobRequest(backfill_job_id=nothing), metadata=ADMIN)
        assert error_info(not_there.value).reason == "ERROR_REASON_BACKFILL_JOB_NOT_FOUND"


async def test_a_job_waits_while_the_source_is_away_goes_on_when_it_is_back_and_can_be_cancelled(world: World) -> None:
    async with world.marketdata() as service:
        async with world.exchange.running():
            await service.has_history()
            await service.has_traded(BTC, world.exchange)
        stub = quality(service)
        request = a_job(stream_pb2.CHANNEL_TRADES, MARKET_TIME - timedelta(minutes=2))
        cancelled = a_job(stream_pb2.CHANNEL_TRADES, MARKET_TIME - timedelta(minutes=3))
        for each in (request, cancelled):
            await stub.CreateBackfillJob(each, metadata=ADMIN)

        async def has_a_problem() -> bool:
            asked = pb.GetBackfillJobRequest(backfill_job_id=request.backfill_job_id)
            return bool((await stub.GetBackfillJob(asked, metadata=ADMIN)).backfill_job.problem)

        await until(has_a_problem)
        asked = pb.CancelBackfillJobRequest(backfill_job_id=cancelled.backfill_job_id)
        ended = (await stub.CancelBackfillJob(asked, metadata=ADMIN)).backfill_job
        assert ended.state == quality_pb2.BACKFILL_STATE_CANCELLED
        async with world.exchange.running():
            assert (await done(service, request.backfill_job_id)).problem == ""
        assert (await stub.CancelBackfillJob(asked, metadata=ADMIN)).backfill_job == ended


async def test_a_candle_that_is_not_the_sources_is_named_and_left_as_it_is(world: World) -> None:
    async with trading(world) as service:
        end = MINUTE.floor(MARKET_TIME)
        wrong, missing = end - timedelta(minutes=3), end - timedelta(minutes=2)
        async with open_database(world.settings().database_url) as engine, engine.begin() as connection:
            values = {"symbol": BTC, "wrong": wrong, "missing": missing}
            await connection.execute(
                text(
                    "UPDATE marketdata.candles SET volume = volume + 0.00001"
                    " WHERE symbol = :symbol AND interval_seconds = 60 AND open_time = :wrong"
                ),
                values,
            )
            await connection.execute(
                text(
                    "DELETE FROM marketdata.candles"
                    " WHERE symbol = :symbol AND interval_seconds = 60 AND open_time = :missing"
                ),
                values,
            )
        answer = await verified(service, BTC, INTERVAL_1M, end - timedelta(minutes=10), end)
        assert (answer.compared, answer.equal) == (10, 8)
        first, second = answer.differences
        assert list(first.fields) == ["volume"]
        assert timestamps.from_pb(first.ours.open_time) == timestamps.from_pb(first.theirs.open_time) == wrong
        assert not second.HasField("ours")
        assert timestamps.from_pb(second.theirs.open_time) == missing
        assert await verified(service, BTC, INTERVAL_1M, end - timedelta(minutes=10), end) == answer
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await verified(service, BTC, candle_pb2.INTERVAL_5S, end - timedelta(minutes=10), end)
        assert error_info(refused.value).reason == "ERROR_REASON_NO_SOURCE_CANDLES"


async def test_a_job_that_its_source_cannot_do_does_not_keep_the_others_waiting(world: World) -> None:
    async with trading(world) as service:
        async with open_database(world.settings().database_url) as engine, engine.begin() as connection:
            await connection.execute(
                text("UPDATE marketdata.symbols SET source_symbol = 'GONE/USDT' WHERE symbol = :symbol"),
                {"symbol": ETH},
            )

        async def is_gone() -> bool:
            listed = await service.stub.ListSymbols(market_pb.ListSymbolsRequest(), metadata=service.metadata)
            return "GONE/USDT" in {symbol.source_symbol for symbol in listed.symbols}

        await until(is_gone)
        hopeless = a_job(stream_pb2.CHANNEL_TRADES, MARKET_TIME - timedelta(minutes=1))
        hopeless.symbol = ETH
        await quality(service).CreateBackfillJob(hopeless, metadata=ADMIN)
        request = a_job(stream_pb2.CHANNEL_TRADES, MARKET_TIME - timedelta(minutes=1))
        await quality(service).CreateBackfillJob(request, metadata=ADMIN)

        await done(service, request.backfill_job_id)

        named = pb.GetBackfillJobRequest(backfill_job_id=hopeless.backfill_job_id)
        waiting = (await quality(service).GetBackfillJob(named, metadata=ADMIN)).backfill_job
        assert waiting.problem
        assert not waiting.HasField("complete_time")
