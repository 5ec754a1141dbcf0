"""Logins go a few at a time, wait in order, and are refused when even waiting has no place for them."""

import asyncio

import pytest

from services.auth.adapters.login_turns import LoginTurns
from services.runtime.errors import Overloaded


class Logins:
    """Logins that end when they are told to."""

    def __init__(self, turns: LoginTurns) -> None:
        self.begun: list[int] = []
        self._turns = turns
        self._ends: dict[int, asyncio.Event] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def begin(self, number: int) -> None:
        self._ends[number] = asyncio.Event()
        self._tasks[number] = asyncio.create_task(self._log_in(number))
        await _until_nothing_moves()

    async def end(self, number: int) -> None:
        self._ends[number].set()
        await self._tasks[number]
        await _until_nothing_moves()

    async def give_up(self, number: int) -> None:
        self._tasks[number].cancel()
        await asyncio.wait([self._tasks[number]])

    async def _log_in(self, number: int) -> None:
        async with self._turns():
            self.begun.append(number)
            await self._ends[number].wait()


async def _until_nothing_moves() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_as_many_as_may_go_at_once_and_the_others_follow_in_their_order() -> None:
    logins = Logins(LoginTurns(at_once=2, waiting=8))
    for number in range(4):
        await logins.begin(number)

    before = list(logins.begun)
    await logins.end(1)
    after_one = list(logins.begun)
    await logins.end(0)

    assert (before, after_one, logins.begun) == ([0, 1], [0, 1, 2], [0, 1, 2, 3])
    for number in (2, 3):
        await logins.end(number)


async def test_beyond_those_who_wait_there_is_no_place_until_somebody_is_done_or_gives_up() -> None:
    turns = LoginTurns(at_once=1, waiting=1)
    logins = Logins(turns)
    await logins.begin(0)
    await logins.begin(1)

    with pytest.raises(Overloaded, match="too many logins at once"):
        await turns().__aenter__()
    await logins.give_up(1)
    await logins.begin(2)
    with pytest.raises(Overloaded):
        await turns().__aenter__()
    await logins.end(0)
    await logins.begin(3)

    assert logins.begun == [0, 2]
    for number in (2, 3):
        await logins.end(number)
