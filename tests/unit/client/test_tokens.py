"""When an access token is renewed, by an injected clock."""

import asyncio
from collections.abc import Iterator

import pytest

from levimesh.client.tokens import AccessToken, TokenSource


class Renewals:
    """Gives a token that is good for 300 seconds of ``now``, again and again."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.refused: list[AccessToken | None] = []
        self.allowed = asyncio.Event()
        self.allowed.set()

    async def __call__(self, refused: AccessToken | None) -> AccessToken:
        await self.allowed.wait()
        self.refused.append(refused)
        return AccessToken(f"token-{len(self.refused)}", self.now + 300)

    def clock(self) -> float:
        return self.now


async def test_a_token_is_renewed_shortly_before_it_expires() -> None:
    renewals = Renewals()
    tokens = TokenSource(renewals, margin=30, now=renewals.clock)

    assert (await tokens.get()).value == "token-1"
    renewals.now += 269
    assert (await tokens.get()).value == "token-1"
    renewals.now += 1
    assert (await tokens.get()).value == "token-2"


async def test_a_token_that_lives_no_longer_than_the_margin_is_good_for_one_call() -> None:
    renewals = Renewals()
    tokens = TokenSource(renewals, margin=400, now=renewals.clock)

    assert [(await tokens.get()).value for _ in range(2)] == ["token-1", "token-2"]


async def test_a_refused_token_is_not_used_again_and_the_renewal_learns_of_it() -> None:
    renewals = Renewals()
    tokens = TokenSource(renewals, now=renewals.clock)
    refused = await tokens.get()

    tokens.reject(refused)

    assert (await tokens.get()).value == "token-2"
    assert renewals.refused == [None, refused]


async def test_the_refusal_of_an_old_token_does_not_cost_the_new_one() -> None:
    renewals = Renewals()
    tokens = TokenSource(renewals, now=renewals.clock)
    old = await tokens.get()
    tokens.reject(old)
    await tokens.get()

    tokens.reject(old)

    assert (await tokens.get()).value == "token-2"


async def test_whoever_stops_waiting_does_not_stop_the_renewal_of_the_others() -> None:
    renewals = Renewals()
    renewals.allowed.clear()
    tokens = TokenSource(renewals, now=renewals.clock)
    impatient, patient = asyncio.create_task(tokens.get()), asyncio.create_task(tokens.get())
    await asyncio.sleep(0)

    impatient.cancel()
    renewals.allowed.set()

    assert (await patient).value == "token-1"
    assert impatient.cancelled()
    assert len(renewals.refused) == 1


async def test_a_renewal_that_nobody_waits_for_any_more_is_still_brought_to_its_end() -> None:
    renewals = Renewals()
    renewals.allowed.clear()
    tokens = TokenSource(renewals, now=renewals.clock)
    impatient = asyncio.create_task(tokens.get())
    await asyncio.sleep(0)
    impatient.cancel()
    asyncio.get_running_loop().call_soon(renewals.allowed.set)

    await tokens.settle()

    assert len(renewals.refused) == 1


async def test_after_a_renewal_that_failed_the_next_call_tries_again() -> None:
    outcomes: Iterator[Exception | AccessToken] = iter([ConnectionError("away"), AccessToken("token-1", 300.0)])

    async def renew(_: AccessToken | None) -> AccessToken:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    tokens = TokenSource(renew, now=lambda: 0.0)

    with pytest.raises(ConnectionError):
        await tokens.get()
    assert (await tokens.get()).value == "token-1"


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(AccessToken("secret", 1.0))
