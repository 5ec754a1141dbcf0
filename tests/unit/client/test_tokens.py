"""When an access token is renewed, by an injected clock."""

import asyncio
from collections.abc import Iterator

import pytest

from levimesh.client.tokens import AccessToken, TokenSource


class Logins:
    """Gives a token that is good for 300 seconds of ``now``, again and again."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.count = 0
        self.allowed = asyncio.Event()
        self.allowed.set()

    async def __call__(self) -> AccessToken:
        await self.allowed.wait()
        self.count += 1
        return AccessToken(f"token-{self.count}", self.now + 300)

    def clock(self) -> float:
        return self.now


async def test_a_token_is_renewed_shortly_before_it_expires() -> None:
    logins = Logins()
    tokens = TokenSource(logins, margin=30, now=logins.clock)

    assert (await tokens.get()).value == "token-1"
    logins.now += 269
    assert (await tokens.get()).value == "token-1"
    logins.now += 1
    assert (await tokens.get()).value == "token-2"


async def test_a_token_that_lives_no_longer_than_the_margin_is_good_for_one_call() -> None:
    logins = Logins()
    tokens = TokenSource(logins, margin=400, now=logins.clock)

    assert [(await tokens.get()).value for _ in range(2)] == ["token-1", "token-2"]


async def test_a_refused_token_is_not_used_again() -> None:
    logins = Logins()
    tokens = TokenSource(logins, now=logins.clock)

    tokens.reject(await tokens.get())

    assert (await tokens.get()).value == "token-2"


async def test_the_refusal_of_an_old_token_does_not_cost_the_new_one() -> None:
    logins = Logins()
    tokens = TokenSource(logins, now=logins.clock)
    old = await tokens.get()
    tokens.reject(old)
    await tokens.get()

    tokens.reject(old)

    assert (await tokens.get()).value == "token-2"


async def test_whoever_stops_waiting_does_not_stop_the_login_of_the_others() -> None:
    logins = Logins()
    logins.allowed.clear()
    tokens = TokenSource(logins, now=logins.clock)
    impatient, patient = asyncio.create_task(tokens.get()), asyncio.create_task(tokens.get())
    await asyncio.sleep(0)

    impatient.cancel()
    logins.allowed.set()

    assert (await patient).value == "token-1"
    assert impatient.cancelled()
    assert logins.count == 1


async def test_after_a_login_that_failed_the_next_call_tries_again() -> None:
    outcomes: Iterator[Exception | AccessToken] = iter([ConnectionError("away"), AccessToken("token-1", 300.0)])

    async def login() -> AccessToken:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    tokens = TokenSource(login, now=lambda: 0.0)

    with pytest.raises(ConnectionError):
        await tokens.get()
    assert (await tokens.get()).value == "token-1"


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(AccessToken("secret", 1.0))
