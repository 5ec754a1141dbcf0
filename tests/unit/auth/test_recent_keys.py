"""What is remembered of API keys between two calls."""

import asyncio

import pytest

from services.auth.adapters.recent_keys import KeysInTurn, RecentKeys
from services.auth.domain.api_keys import StoredKey
from services.runtime.errors import Overloaded
from tests.unit.auth.test_api_keys import PREFIX, a_key, stored


class Database:
    """Counts how often it is read, and may be away."""

    def __init__(self) -> None:
        self.reads = 0
        self.away = False
        self.open = asyncio.Event()
        self.open.set()

    async def find(self, prefix: str) -> StoredKey | None:
        self.reads += 1
        await self.open.wait()
        if self.away:
            raise ConnectionError("away")
        return stored(a_key()) if prefix == PREFIX else None


async def test_many_calls_at_once_read_a_key_once() -> None:
    database = Database()
    keys = RecentKeys(database.find, lambda: 0.0)

    found = await asyncio.gather(*(keys.find(PREFIX) for _ in range(100)))

    assert database.reads == 1
    assert all(each is found[0] for each in found)


async def test_a_key_is_read_again_after_a_second_and_so_is_one_that_there_is_not() -> None:
    database, now = Database(), 0.0
    keys = RecentKeys(database.find, lambda: now)
    await keys.find(PREFIX)
    assert await keys.find("lm_nobody") is None

    now = 0.999
    await keys.find(PREFIX)
    await keys.find("lm_nobody")
    assert database.reads == 2

    now = 1.0
    await keys.find(PREFIX)
    await keys.find("lm_nobody")
    assert database.reads == 4


async def test_a_caller_that_gives_up_leaves_the_answer_to_the_others() -> None:
    database = Database()
    database.open.clear()
    keys = RecentKeys(database.find, lambda: 0.0)
    impatient, patient = asyncio.create_task(keys.find(PREFIX)), asyncio.create_task(keys.find(PREFIX))
    await asyncio.sleep(0)

    impatient.cancel()
    await asyncio.wait([impatient])
    database.open.set()

    assert await patient is not None


async def test_a_failure_is_not_remembered() -> None:
    database = Database()
    database.away = True
    keys = RecentKeys(database.find, lambda: 0.0)
    with pytest.raises(ConnectionError):
        await keys.find(PREFIX)

    database.away = False

    assert await keys.find(PREFIX) is not None


async def test_a_flood_of_keys_is_refused_and_most_of_the_database_is_left_to_others() -> None:
    database = Database()
    database.open.clear()
    keys = KeysInTurn(database.find)
    flood = [asyncio.create_task(keys.find(f"lm_{number}")) for number in range(150)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert sum(task.done() for task in flood) == 50
    assert database.reads == 4

    database.open.set()
    outcomes = await asyncio.gather(*flood, return_exceptions=True)

    assert sum(isinstance(outcome, Overloaded) for outcome in outcomes) == 50
    assert outcomes.count(None) == 100
