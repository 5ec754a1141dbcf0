"""Calls counted in a real Redis: exactly, for all who count there, and not at all while it is away."""

import asyncio
import secrets
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from services.auth.adapters.limits import RedisCallCounter, open_call_counter
from services.auth.domain.limits import Allowance, Counted
from services.auth.errors import CountingUnavailable
from services.stack.ports import find_free
from services.stack.redis import RedisServer

ALICE = Counted("/s/Submit", "alice", "192.0.2.1")
TEN_AN_HOUR = Allowance("/s/Submit", 10, 3600)


@pytest_asyncio.fixture
async def counters(redis_url: str) -> AsyncIterator[list[RedisCallCounter]]:
    """Two, as two replicas have them; what they count here may take as long as a busy machine needs."""
    url = SecretStr(redis_url)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_call_counter(url, patience=10)) for _ in range(2)]


async def test_of_parallel_calls_through_two_replicas_never_more_pass_than_are_allowed(
    counters: list[RedisCallCounter],
) -> None:
    outcomes = await asyncio.gather(*(counters[number % 2].take(ALICE, TEN_AN_HOUR) for number in range(100)))

    assert sum(allowed for allowed, _ in outcomes) == 10


async def test_what_is_left_is_told_and_looking_takes_nothing(counters: list[RedisCallCounter]) -> None:
    one, other = counters
    assert (await one.look(ALICE, TEN_AN_HOUR)).remaining == 10

    allowed, balance = await one.take(ALICE, TEN_AN_HOUR)

    assert allowed
    assert balance.remaining == 9
    assert (await other.look(ALICE, TEN_AN_HOUR)).remaining == 9
    assert (await other.look(ALICE, TEN_AN_HOUR)).remaining == 9
    assert 3590 < balance.reset_in <= 3600


async def test_a_refused_call_costs_nothing_more(counters: list[RedisCallCounter]) -> None:
    once, counter = Allowance("/s/Submit", 1, 1), counters[0]
    assert (await counter.take(ALICE, once))[0]

    allowed, balance = await counter.take(ALICE, once)
    assert not allowed
    assert balance.remaining == 0
    while not allowed:
        # Asking again and again does not put off the moment when there is one.
        allowed, balance = await counter.take(ALICE, once)


async def test_others_have_their_own(counters: list[RedisCallCounter]) -> None:
    for _ in range(10):
        await counters[0].take(ALICE, TEN_AN_HOUR)

    for other in (
        Counted("/s/Submit", "bob", "192.0.2.1"),
        Counted("/s/Submit", "alice", "192.0.2.2"),
        Counted("/s/Cancel", "alice", "192.0.2.1"),
    ):
        assert (await counters[0].take(other, TEN_AN_HOUR))[0]


async def test_while_redis_is_away_nothing_is_counted_and_afterwards_it_is_again(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, find_free(1, first=12_000 + secrets.randbelow(18_000))[0], "test")
    await server.prepare()
    async with open_call_counter(SecretStr(server.url)) as counter:
        with pytest.raises(CountingUnavailable):
            await counter.take(ALICE, TEN_AN_HOUR)

        process = await _started(server)
        assert (await counter.take(ALICE, TEN_AN_HOUR))[0]

        process.kill()
        process.wait()
        with pytest.raises(CountingUnavailable):
            await counter.take(ALICE, TEN_AN_HOUR)
        with pytest.raises(CountingUnavailable):
            await counter.look(ALICE, TEN_AN_HOUR)

        process = await _started(server)
        try:
            assert (await counter.take(ALICE, TEN_AN_HOUR))[0]
        finally:
            process.kill()
            process.wait()


async def test_a_redis_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, find_free(1, first=12_000 + secrets.randbelow(18_000))[0], "test")
    await server.prepare()
    process = await _started(server)
    try:
        async with open_call_counter(SecretStr(server.url)) as counter, asyncio.timeout(5):
            await counter.take(ALICE, TEN_AN_HOUR)
            process.send_signal(signal.SIGSTOP)

            with pytest.raises(CountingUnavailable):
                await counter.take(ALICE, TEN_AN_HOUR)

            process.send_signal(signal.SIGCONT)
            while True:
                # What was asked before may be answered now, and nobody may take it for an answer to this.
                with suppress(CountingUnavailable):
                    assert (await counter.look(ALICE, TEN_AN_HOUR)).remaining in (8, 9)
                    break
    finally:
        process.kill()
        process.wait()


async def _started(server: RedisServer) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(server.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: ASYNC220, S603 - our own command, which returns at once
    async with asyncio.timeout(20):
        while True:
            try:
                await server.ping()
            except Exception:  # noqa: BLE001 - whatever keeps it from answering, it may answer next time
                await asyncio.sleep(0.02)
            else:
                return process
