"""The first model trains itself; models are read; what cannot serve does not."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest

from levimesh.prediction.v1 import model_pb2
from levimesh.prediction.v1 import prediction_service_pb2 as pb
from services.prediction.features.step import WARMUP
from tests.mesh import error_info
from tests.prediction import BTC, ETH, MODEL, VIEWER, RunningPrediction, World, a_returning_market, a_world, until

SUCCEEDED = model_pb2.TRAINING_STATE_SUCCEEDED
WAITING = model_pb2.TRAINING_STATE_WAITING_FOR_HISTORY
FAILED = model_pb2.TRAINING_STATE_FAILED


@pytest.fixture
async def world(
    database_url: Callable[[str], str], redis_url: str, certificates: Path, tmp_path: Path
) -> AsyncIterator[World]:
    async with a_world(database_url("prediction"), redis_url, certificates, tmp_path / "models") as world:
        yield world


async def ends(running: RunningPrediction) -> model_pb2.Training:
    """The training when it is over."""

    async def is_over() -> bool:
        return (await running.training()).state in (SUCCEEDED, FAILED, model_pb2.TRAINING_STATE_UNSPECIFIED)

    await until(is_over, seconds=60)
    return await running.training()


async def test_the_first_model_is_trained_on_the_history_and_serves(world: World) -> None:
    for seed, symbol in enumerate((BTC, ETH)):
        world.marketdata.store(symbol, a_returning_market(1500, seed))
    async with world.prediction() as running:
        training = await ends(running)
        said = await running.predicts_on(a_returning_market(1500, 0)[-1])
        model = await running.model()

    assert (training.state, training.fraction, training.model_version) == (SUCCEEDED, 1.0, model.model_version)
    assert said.model_version == model.model_version
    assert model.state == model_pb2.MODEL_STATE_ACTIVE
    assert model.card.metrics.auc > 0.6
    assert [(span.symbol, span.candles) for span in model.card.data] == [(BTC, 1500), (ETH, 1500)]
    assert model.card.horizon.seconds == 900
    assert (world.models / model.model_version / "model.txt").exists()

    async with world.prediction() as running:
        assert (await ends(running)).state == model_pb2.TRAINING_STATE_UNSPECIFIED
        assert await running.model() == model


async def test_training_waits_for_the_history_and_says_so(world: World) -> None:
    world.marketdata.complete = False
    world.marketdata.store(BTC, a_returning_market(40))
    async with world.prediction() as running:

        async def is_waiting() -> bool:
            return "40 of 20000" in (await running.training()).stage

        await until(is_waiting)
        assert (await running.training()).state == WAITING
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await running.predict()

    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error_info(refused.value).reason == "ERROR_REASON_NO_ACTIVE_MODEL"


async def test_too_little_history_is_waited_for(world: World) -> None:
    world.marketdata.store(BTC, a_returning_market(WARMUP + 20))
    async with world.prediction() as running:

        async def is_too_little() -> bool:
            return "too little history" in (await running.training()).stage

        await until(is_too_little, seconds=30)
        world.marketdata.store(BTC, a_returning_market(1500)[WARMUP + 20 :])
        assert (await ends(running)).state == SUCCEEDED


async def test_a_model_that_was_altered_is_replaced_by_a_new_one(world: World) -> None:
    await world.has_a_model()
    (world.models / MODEL / "model.txt").write_bytes(b"another model")
    world.marketdata.store(BTC, a_returning_market(1500))
    world.marketdata.store(ETH, a_returning_market(1500, 2))
    async with world.prediction() as running:
        training = await ends(running)
        active, old = await running.model(), await running.model(MODEL)

    assert active.model_version == training.model_version != MODEL
    assert old.state == model_pb2.MODEL_STATE_REGISTERED


async def test_models_are_listed_newest_first_a_page_at_a_time(world: World) -> None:
    for version in ("one", "two", "three"):
        await world.has_a_model(version=version)
    async with world.prediction(without=["candle follower"]) as running:
        first = await running.stub.ListModels(pb.ListModelsRequest(page_size=2), metadata=VIEWER)
        request = pb.ListModelsRequest(page_size=2, page_token=first.next_page_token)
        second = await running.stub.ListModels(request, metadata=VIEWER)

    assert [model.model_version for model in first.models] == ["three", "two"]
    assert [model.model_version for model in second.models] == ["one"]
    assert second.next_page_token == ""
    active, registered = model_pb2.MODEL_STATE_ACTIVE, model_pb2.MODEL_STATE_REGISTERED
    assert [model.state for model in (*first.models, *second.models)] == [active, registered, registered]


@pytest.mark.parametrize("version", ["active", "unheard-of"])
async def test_a_model_that_is_not_there_is_not_found(world: World, version: str) -> None:
    async with world.prediction(without=["first model"]) as running:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await running.model(version)

    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert error_info(refused.value).reason == "ERROR_REASON_MODEL_NOT_FOUND"
