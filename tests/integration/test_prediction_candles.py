"""Candles become predictions and signals, each once, whatever is interrupted."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from levimesh.prediction.v1 import prediction_pb2
from levimesh.prediction.v1 import prediction_service_pb2 as pb
from services.prediction.adapters.lightgbm_model import LightGbmClassifier
from services.prediction.adapters.publisher import SignalPublisher
from services.prediction.domain.market import Bar, from_ms
from services.prediction.domain.predictions import prediction_id
from services.prediction.features.engine import over_history
from services.prediction.features.step import WARMUP
from services.runtime.database import open_database
from services.runtime.journal import START, RedisJournal, open_journal
from tests.mesh import error_info
from tests.prediction import (
    BTC,
    ETH,
    MODEL,
    VIEWER,
    RunningPrediction,
    World,
    a_returning_market,
    a_trained_model,
    a_world,
    until,
)

BARS = a_returning_market(WARMUP + 200)


@pytest.fixture
async def world(
    database_url: Callable[[str], str], redis_url: str, certificates: Path, tmp_path: Path
) -> AsyncIterator[World]:
    async with a_world(database_url("prediction"), redis_url, certificates, tmp_path / "models") as world:
        await world.has_a_model()
        world.marketdata.store(BTC, BARS[:WARMUP])
        yield world


def expected_probabilities(bars: list[Bar]) -> dict[int, float]:
    """What the model says about each candle, by its close time: computed over the history as training does."""
    classifier = LightGbmClassifier(a_trained_model().artifact)
    return {bar.close_time_ms: classifier.probability_up(features) for bar, features in over_history(bars) if features}


def expected_signals(bars: list[Bar], after: Bar) -> list[int]:
    """The close times of the candles after ``after`` that are signals."""
    thresholds = a_trained_model().card.thresholds
    return [
        closed_ms
        for closed_ms, probability in expected_probabilities(bars).items()
        if closed_ms > after.close_time_ms and not thresholds.lower < probability < thresholds.upper
    ]


def close_times(signals: list[prediction_pb2.Signal]) -> list[int]:
    return [signal.prediction.candle_close_time.ToMilliseconds() for signal in signals]


async def is_published(running: RunningPrediction, expected: list[int]) -> None:
    async def is_there() -> bool:
        return len(await running.published()) >= len(expected)

    await until(is_there)
    assert close_times(await running.published()) == expected


async def test_predict_says_what_the_model_says_about_the_newest_candle(world: World) -> None:
    async with world.prediction() as running:
        said = await running.predicts_on(BARS[WARMUP - 1])
        again = await running.predict()

    newest = BARS[WARMUP - 1]
    assert said == again
    assert said.prediction_id == str(prediction_id(MODEL, BTC, from_ms(newest.close_time_ms)))
    assert said.probability_up == expected_probabilities(BARS)[newest.close_time_ms]
    assert float(said.close.value) == newest.close
    assert said.horizon == Duration(seconds=900)
    assert said.model_version == MODEL


async def test_every_candle_of_the_stream_is_predicted_and_its_signals_are_published_in_order(world: World) -> None:
    async with world.prediction() as running:
        await running.predicts_on(BARS[WARMUP - 1])
        await is_published(running, expected_signals(BARS[:WARMUP], after=BARS[WARMUP - 2]))
        for bar in BARS[WARMUP : WARMUP + 60]:
            world.marketdata.complete_candle(BTC, bar)
        await running.predicts_on(BARS[WARMUP + 59])
        expected = expected_signals(BARS[: WARMUP + 60], after=BARS[WARMUP - 2])
        await is_published(running, expected)

        signals = await running.published()
        thresholds = a_trained_model().card.thresholds
        assert len(expected) > 5
        for signal in signals:
            up = signal.prediction.direction == prediction_pb2.DIRECTION_UP
            assert signal.threshold == (thresholds.upper if up else thresholds.lower)
            assert (signal.prediction.probability_up >= 0.5) == up


async def test_candles_missed_while_down_are_predicted_in_order_and_nothing_twice(world: World) -> None:
    async with world.prediction() as running:
        await running.predicts_on(BARS[WARMUP - 1])
        for bar in BARS[WARMUP : WARMUP + 20]:
            world.marketdata.complete_candle(BTC, bar)
        await running.predicts_on(BARS[WARMUP + 19])
    for bar in BARS[WARMUP + 20 : WARMUP + 120]:
        world.marketdata.complete_candle(BTC, bar)
    async with world.prediction() as running:
        await running.predicts_on(BARS[WARMUP + 119])
        await is_published(running, expected_signals(BARS[: WARMUP + 120], after=BARS[WARMUP - 2]))


async def test_candles_lost_by_the_stream_are_fetched(world: World) -> None:
    async with world.prediction() as running:
        await running.predicts_on(BARS[WARMUP - 1])
        world.marketdata.store(BTC, BARS[WARMUP : WARMUP + 30])
        world.marketdata.lose()
        await running.predicts_on(BARS[WARMUP + 29])
        world.marketdata.store(BTC, BARS[WARMUP + 30 : WARMUP + 40])
        world.marketdata.complete_candle(BTC, BARS[WARMUP + 40])
        await running.predicts_on(BARS[WARMUP + 40])
        await is_published(running, expected_signals(BARS[: WARMUP + 41], after=BARS[WARMUP - 2]))


async def test_a_broken_stream_is_resumed(world: World) -> None:
    async with world.prediction() as running:
        await running.predicts_on(BARS[WARMUP - 1])
        world.marketdata.cut()
        world.marketdata.complete_candle(BTC, BARS[WARMUP])
        await running.predicts_on(BARS[WARMUP])

    assert world.marketdata.streams == 2


async def test_a_hole_stops_predictions_until_marketdata_has_filled_it(world: World) -> None:
    async with world.prediction() as running:
        await running.predicts_on(BARS[WARMUP - 1])
        world.marketdata.complete_candle(BTC, BARS[WARMUP + 1])

        async def is_refused() -> bool:
            try:
                await running.predict()
            except grpc.aio.AioRpcError as error:
                return bool(error_info(error).reason == "ERROR_REASON_FEATURES_NOT_READY")
            return False

        await until(is_refused)
        world.marketdata.store(BTC, [BARS[WARMUP]])
        world.marketdata.complete_candle(BTC, BARS[WARMUP + 2])
        said = await running.predicts_on(BARS[WARMUP + 2])
        await is_published(running, expected_signals(BARS[: WARMUP + 3], after=BARS[WARMUP - 2]))

    assert said.probability_up == expected_probabilities(BARS)[BARS[WARMUP + 2].close_time_ms]


async def test_an_impossible_candle_does_not_stop_the_others(world: World) -> None:
    async with world.prediction() as running:
        await running.predicts_on(BARS[WARMUP - 1])
        world.marketdata.store(ETH, BARS[:WARMUP])
        world.marketdata.complete_candle(BTC, BARS[WARMUP]._replace(high=0.5))
        world.marketdata.complete_candle(ETH, BARS[WARMUP])
        await running.predicts_on(BARS[WARMUP], ETH)


async def test_only_the_chosen_symbols_are_predicted(world: World) -> None:
    world.marketdata.store(ETH, BARS[:WARMUP])
    async with world.prediction(symbols=frozenset({ETH})) as running:
        await running.predicts_on(BARS[WARMUP - 1], ETH)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await running.predict(BTC)

    assert error_info(refused.value).reason == "ERROR_REASON_SYMBOL_NOT_FOUND"


class _Interrupted(RedisJournal):
    """A journal that takes events and then fails to say so."""

    async def append(self, topic: str, events: Any) -> list[str]:
        await super().append(topic, events)
        raise ConnectionError("no answer")


async def test_signals_whose_publication_was_not_confirmed_are_not_published_twice(world: World) -> None:
    async with world.prediction(without=["signal publisher"]) as running:
        await running.predicts_on(BARS[WARMUP - 1])
        for bar in BARS[WARMUP : WARMUP + 60]:
            world.marketdata.complete_candle(BTC, bar)
        await running.predicts_on(BARS[WARMUP + 59])
        assert await running.published() == []

        settings = world.settings()
        async with open_database(settings.database_url) as engine, open_journal(settings.redis_url) as journal:
            interrupted = _Interrupted(journal._redis, 1000)
            with pytest.raises(ConnectionError):
                await SignalPublisher(engine, interrupted).relay()
            expected = expected_signals(BARS[: WARMUP + 60], after=BARS[WARMUP - 2])
            assert close_times(await running.published()) == expected
            assert await SignalPublisher(engine, journal).relay() == len(expected)
            assert await SignalPublisher(engine, journal).relay() == 0
            assert close_times(await running.published()) == expected


async def read_signals(running: RunningPrediction, token: str, count: int) -> tuple[list[int], str]:
    """The close times of at least ``count`` signals after ``token``, and the token after them."""
    seen: list[int] = []
    request = pb.StreamSignalsRequest(symbols=[BTC], resume_token=token)
    stream = running.stub.StreamSignals(request, metadata=VIEWER)
    async with asyncio.timeout(15):
        async for response in stream:
            seen += close_times(list(response.signals.signals))
            token = response.resume_token
            if len(seen) >= count:
                break
    stream.cancel()
    return seen, token


async def test_a_reader_of_signals_continues_after_its_token(world: World) -> None:
    expected = expected_signals(BARS[: WARMUP + 60], after=BARS[WARMUP - 2])
    async with world.prediction() as running:
        await running.predicts_on(BARS[WARMUP - 1])
        for bar in BARS[WARMUP : WARMUP + 30]:
            world.marketdata.complete_candle(BTC, bar)
        first, token = await read_signals(running, START, 3)
        for bar in BARS[WARMUP + 30 : WARMUP + 60]:
            world.marketdata.complete_candle(BTC, bar)
        second, _ = await read_signals(running, token, len(expected) - len(first))

    assert first + second == expected


async def test_a_new_reader_of_signals_is_told_at_once_that_the_stream_is_alive(world: World) -> None:
    async with world.prediction() as running:
        stream = running.stub.StreamSignals(pb.StreamSignalsRequest(), metadata=VIEWER)
        first = await anext(aiter(stream))

    assert first.WhichOneof("event") == "heartbeat"
    assert first.resume_token


async def test_an_unknown_symbol_is_not_found(world: World) -> None:
    async with world.prediction() as running:
        await running.predicts_on(BARS[WARMUP - 1])
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await running.predict("XRP-USDT@simex")
        stream = running.stub.StreamSignals(pb.StreamSignalsRequest(symbols=[BTC, "XRP-USDT@simex"]), metadata=VIEWER)
        with pytest.raises(grpc.aio.AioRpcError) as stream_refused:
            await anext(aiter(stream))

    for error in (refused.value, stream_refused.value):
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert error_info(error).reason == "ERROR_REASON_SYMBOL_NOT_FOUND"


async def test_a_symbol_without_candles_has_no_features(world: World) -> None:
    async with world.prediction() as running:
        await running.predicts_on(BARS[WARMUP - 1])
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await running.predict(ETH)

    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error_info(refused.value).reason == "ERROR_REASON_FEATURES_NOT_READY"
