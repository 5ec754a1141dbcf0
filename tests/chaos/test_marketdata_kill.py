"""kill -9 of whatever market data passes through, while recorded trades are replayed: nothing is lost or invented."""

import asyncio
import os
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from levimesh.client import Client
from levimesh.marketdata.v1 import candle_pb2, quality_pb2, quality_service_pb2, stream_pb2, trade_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from services.runtime import timestamps
from services.stack.state import Memory
from tests.embedded import Mesh, a_mesh
from tests.recorded import Recording, a_recording, bar_of, row_of
from tests.subscriber import Subscriber, assert_each_once, subscribed

pytestmark = [pytest.mark.realdata, pytest.mark.timeout(600)]

SPEED = 8.0
KILLED = ("marketdata", "postgres", "redis", "simex")
PATIENCE = 75.0
"""Seconds for what takes a few, on a machine with much else to do."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return a_recording(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def mesh(recording: Recording) -> Iterator[Mesh]:
    """A mesh that replays what was recorded. No model is trained of eleven minutes, so it does not wait for one."""
    memory = Memory(f"replay:{recording.folder}", SPEED, ["history", "strategy"])
    with a_mesh(memory=memory, SIMEX_REPLAY_START=recording.opening.isoformat()) as mesh:
        yield mesh


@pytest.fixture
async def client(mesh: Mesh) -> AsyncIterator[Client]:
    async with Client.connect(mesh.profile) as client:
        yield client


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until ``condition`` holds; without complaint where it does not, so that the test says what is wrong."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while not await _holds(condition):  # noqa: ASYNC110 - what other processes do sets no event here
                await asyncio.sleep(0.5)


async def _holds(condition: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await condition()
    except (grpc.aio.AioRpcError, FileNotFoundError, StopIteration):  # something of the mesh is starting again
        return False


async def killed(mesh: Mesh, process: str) -> None:
    """Kill a process, and wait until the mesh has started another."""
    before = mesh.pid_of(process)
    os.kill(before, signal.SIGKILL)

    async def is_another() -> bool:
        return mesh.pid_of(process) != before

    await eventually(is_another)


async def has_told(subscriber: Subscriber, count: int) -> None:
    """Wait until the subscriber knows so many trades."""

    async def is_told() -> bool:
        return subscriber.trade_count >= count

    await eventually(is_told)


async def stored_trades(client: Client, symbol: str) -> list[trade_pb2.Trade]:
    """All stored trades of a symbol, page by page."""
    trades: list[trade_pb2.Trade] = []
    request = pb.ListTradesRequest(symbol=symbol, start_time=Timestamp(), page_size=5_000)
    while True:
        page = await client.marketdata.ListTrades(request)
        trades += page.trades
        if not page.next_page_token:
            return trades
        request.page_token = page.next_page_token


async def stored_candles(client: Client, recording: Recording, symbol: str) -> list[candle_pb2.Candle]:
    """The stored candles of the minutes that were recorded."""
    begin, end = recording.bars(symbol)[0][0], recording.bars(symbol)[-1][0]
    request = pb.GetCandlesRequest(
        symbol=symbol,
        interval=candle_pb2.INTERVAL_1M,
        start_time=timestamps.to_pb(begin),
        end_time=timestamps.to_pb(end + timedelta(minutes=1)),
    )
    return list((await client.marketdata.GetCandles(request)).candles)


async def gaps(client: Client, state: "quality_pb2.GapState.ValueType") -> list[quality_pb2.DataGap]:
    answer = await client.quality.ListGaps(quality_service_pb2.ListGapsRequest(state=state, page_size=1_000))
    assert not answer.next_page_token
    return list(answer.gaps)


async def fetches_what_was_before(client: Client, recording: Recording) -> list[str]:
    """Have the trades fetched that were missed while marketdata connected to an exchange of which it knew no trade."""
    jobs = [
        quality_service_pb2.CreateBackfillJobRequest(
            backfill_job_id=str(uuid.uuid4()),
            symbol=symbol,
            channel=stream_pb2.CHANNEL_TRADES,
            start_time=timestamps.to_pb(recording.start),
        )
        for symbol in recording.rows
    ]
    for job in jobs:
        await client.quality.CreateBackfillJob(job)
    return [job.backfill_job_id for job in jobs]


async def are_done(client: Client, jobs: Sequence[str]) -> bool:
    requests = [quality_service_pb2.GetBackfillJobRequest(backfill_job_id=job) for job in jobs]
    found = [(await client.quality.GetBackfillJob(request)).backfill_job for request in requests]
    return all(job.state == quality_pb2.BACKFILL_STATE_DONE for job in found)


def assert_same(found: Iterable[object], expected: Iterable[object]) -> None:
    """Both hold the same, as often; tells some of what is missing and of what is too much."""
    have, want = Counter(found), Counter(expected)
    assert (list((want - have).elements())[:5], list((have - want).elements())[:5]) == ([], [])


def assert_was_told(told: Sequence[trade_pb2.Trade | None], stored: Sequence[trade_pb2.Trade]) -> None:
    """What was told is what is stored, numbered without holes, from the first to the last."""
    by_sequence = {trade.sequence: row_of(trade) for trade in stored}
    assert sorted(by_sequence) == list(range(1, len(stored) + 1))
    assert_each_once(told)
    assert told[0] is not None
    assert told[0].sequence == 1
    assert [trade for trade in told if trade and by_sequence[trade.sequence] != row_of(trade)] == []
    assert max(trade.sequence for trade in told if trade) == len(stored)


def assert_candles_were_told(told: Sequence[candle_pb2.Candle | None], stored: Sequence[candle_pb2.Candle]) -> None:
    """Of each candle that was told the last one is what is stored, and none is left out if nothing was lost."""
    assert_each_once(told)
    newest = {bar_of(candle)[0]: bar_of(candle) for candle in told if candle}
    bars = [bar_of(candle) for candle in stored]
    expected = [bar for bar in bars if None not in told or bar[0] in newest]
    assert [newest.get(bar[0]) for bar in expected] == expected


async def test_trades_candles_and_streams_are_exact_whatever_is_killed_on_the_way(
    mesh: Mesh, client: Client, recording: Recording
) -> None:
    total = sum(map(len, recording.rows.values()))
    async with subscribed(client.market_data, list(recording.rows)) as subscriber:
        recording.play(mesh.pid_of("simex"), mesh.state / "simex")
        await has_told(subscriber, 1)
        jobs = await fetches_what_was_before(client, recording)
        for turn, process in enumerate(KILLED, start=1):
            # Something comes between two deaths, as long as there is something.
            await has_told(subscriber, min(total, max(turn * total // 8, subscriber.trade_count + 1_000)))
            await killed(mesh, process)
        await has_told(subscriber, total)

        async def is_repaired() -> bool:
            return not await gaps(client, quality_pb2.GAP_STATE_OPEN)

        async def has_candles() -> bool:
            stored = {symbol: await stored_candles(client, recording, symbol) for symbol in recording.rows}
            return all(list(map(bar_of, found)) == recording.bars(symbol) for symbol, found in stored.items())

        await eventually(lambda: are_done(client, jobs))
        await eventually(is_repaired)
        await eventually(has_candles)

        assert await are_done(client, jobs)
        assert await gaps(client, quality_pb2.GAP_STATE_OPEN) == []
        assert await gaps(client, quality_pb2.GAP_STATE_NOT_AT_SOURCE) == []
        assert sum(gap.repaired_rows for gap in await gaps(client, quality_pb2.GAP_STATE_REPAIRED)) > 0
        for symbol, rows in recording.rows.items():
            trades = await stored_trades(client, symbol)
            assert_same(map(row_of, trades), rows)
            assert_was_told(subscriber.trades[symbol], trades)
            candles = await stored_candles(client, recording, symbol)
            assert list(map(bar_of, candles)) == recording.bars(symbol)
            assert_candles_were_told(subscriber.candles[symbol], candles)
