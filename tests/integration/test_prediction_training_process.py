"""The process that trains: what it answers, how it breaks down, that it ends with its service."""

import asyncio

import psutil
import pytest

from services.prediction.adapters.training_process import TrainingProcess
from services.prediction.domain.trainings import NotEnoughHistory, Plan, TrainingFailed, TrainingKilled
from services.prediction.learning.training import train
from tests.prediction import BTC, a_returning_market, until

PLAN = Plan(rounds=10, min_rows=50, min_data_in_leaf=20)
HISTORY = {BTC: a_returning_market(1000)}


async def test_the_process_makes_the_same_model_as_training_in_place() -> None:
    heard: list[tuple[str, float]] = []
    trained = await TrainingProcess().train(HISTORY, PLAN, lambda stage, fraction: heard.append((stage, fraction)))
    here = train(HISTORY, PLAN, lambda _stage, _fraction: None)

    assert trained.artifact == here.artifact
    assert trained.card.metrics == here.card.metrics
    assert trained.card.data == here.card.data
    assert heard[0] == ("computing features", 0.0)
    assert heard[-1] == ("done", 1.0)


async def test_too_little_history_is_told_from_a_break_down() -> None:
    with pytest.raises(NotEnoughHistory, match="rows"):
        await TrainingProcess().train({BTC: a_returning_market(400)}, PLAN, lambda _stage, _fraction: None)


async def test_a_process_that_breaks_down_says_why() -> None:
    impossible = Plan(rounds=10, min_rows=50, num_leaves=1)
    with pytest.raises(TrainingFailed, match="num_leaves"):
        await TrainingProcess().train(HISTORY, impossible, lambda _stage, _fraction: None)


async def test_a_killed_process_is_told_from_one_that_broke_down() -> None:
    begun = asyncio.Event()
    endless = Plan(rounds=1_000_000, patience=1_000_000, min_rows=50)
    training = asyncio.ensure_future(TrainingProcess().train(HISTORY, endless, lambda _stage, _fraction: begun.set()))
    async with asyncio.timeout(30):
        await begun.wait()
    (child,) = _trainings()
    child.kill()
    with pytest.raises(TrainingKilled, match="signal 9"):
        await training


async def test_a_cancelled_training_leaves_no_process_behind() -> None:
    begun = asyncio.Event()
    endless = Plan(rounds=1_000_000, patience=1_000_000, min_rows=50)
    training = asyncio.ensure_future(TrainingProcess().train(HISTORY, endless, lambda _stage, _fraction: begun.set()))
    async with asyncio.timeout(30):
        await begun.wait()
    (child,) = _trainings()
    training.cancel()
    await asyncio.gather(training, return_exceptions=True)

    async def is_gone() -> bool:
        return not child.is_running()

    await until(is_gone)


def _trainings() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "services.prediction.learning" in child.cmdline()]
