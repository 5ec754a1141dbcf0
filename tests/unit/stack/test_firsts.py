"""What is done once in the life of a mesh."""

import asyncio
from pathlib import Path

import grpc

from services.stack.firsts import Firsts, Step
from services.stack.state import Memory, State


async def test_a_step_is_tried_until_it_succeeds_says_why_it_does_not_and_is_remembered(tmp_path: Path) -> None:
    state, seen = State.at(tmp_path), []
    firsts = Firsts(state, Memory("simex"), delay=0)

    async def work() -> None:
        seen.append(firsts.now)
        if len(seen) == 1:
            raise RuntimeError("the disk is full")

    await firsts.once("admin", work)
    await Firsts(state, Memory("simex", done=["admin"])).once("admin", work)

    words = "creating the first admin"
    assert seen == [Step(words), Step(words, "the disk is full")]
    assert firsts.now is None
    assert Memory.of(state) == Memory("simex", done=["admin"])


async def test_a_step_waits_for_what_it_needs(tmp_path: Path) -> None:
    there, done = asyncio.Event(), asyncio.Event()
    firsts = Firsts(State.at(tmp_path), Memory("simex"), delay=0)

    async def work() -> None:
        assert there.is_set()
        done.set()

    waiting = asyncio.create_task(firsts.once("admin", work, there))
    await asyncio.sleep(0)
    assert not done.is_set()
    assert firsts.now is not None
    there.set()
    await waiting

    assert done.is_set()


async def test_an_error_without_words_is_named(tmp_path: Path) -> None:
    firsts, problems = Firsts(State.at(tmp_path), Memory("simex"), delay=0), []

    async def work() -> None:
        problems.append(firsts.now.problem if firsts.now else "")
        if len(problems) == 1:
            raise TimeoutError

    await firsts.once("history", work)

    assert problems == ["", "TimeoutError()"]


async def test_that_it_was_tried_too_often_is_not_told_as_the_reason(tmp_path: Path) -> None:
    firsts, problems = Firsts(State.at(tmp_path), Memory("simex"), delay=0), []
    nothing = grpc.aio.Metadata()
    refusals = [
        grpc.aio.AioRpcError(grpc.StatusCode.UNAUTHENTICATED, nothing, nothing, "the password is wrong"),
        grpc.aio.AioRpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, nothing, nothing, "too many calls"),
    ]

    async def work() -> None:
        problems.append(firsts.now.problem if firsts.now else "")
        if refusals:
            raise refusals.pop(0)

    await firsts.once("strategy", work)

    assert problems == ["", *["the password is wrong [UNAUTHENTICATED]"] * 2]
