"""What the client does with unary calls: deadlines, retries, access tokens."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from levimesh.auth.v1 import user_pb2, user_service_pb2
from levimesh.client import Client, Profile, ProfileError, details
from levimesh.client.client import SERVICES
from levimesh.client.deadlines import Deadlines
from levimesh.client.identity import public_methods
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import symbol_pb2
from levimesh.policy.v1 import policy_pb2
from tests.edge import Aborted, Edge, a_refusal

A_USER = user_service_pb2.CreateUserRequest(username="bob", password="a long password", roles=[policy_pb2.ROLE_VIEWER])
SYMBOLS = pb.ListSymbolsResponse(symbols=[symbol_pb2.Symbol(symbol="BTC-USDT@simex")])


@pytest_asyncio.fixture
async def mesh(edge: Edge) -> AsyncIterator[Client]:
    edge.answers["ListSymbols"] = lambda _: SYMBOLS
    async with Client.connect(edge.profile) as client:
        yield client


def failing(times: int, then: Any) -> Callable[[Any], Any]:
    """UNAVAILABLE so many times, and then the answer ``then``."""
    outcomes = chain(repeat(Aborted(grpc.StatusCode.UNAVAILABLE, "away"), times), repeat(then))

    def answer(request: Any) -> Any:
        outcome = next(outcomes)
        if isinstance(outcome, Aborted):
            raise outcome
        return outcome

    return answer


def limited(times: int, retry_after: float, then: Any) -> Callable[[Any], Any]:
    """RATE_LIMITED so many times, and then the answer ``then``."""
    refusals = iter([a_refusal("RESOURCE_EXHAUSTED", "RATE_LIMITED", "too many calls", retry_after)] * times)

    def answer(request: Any) -> Any:
        if (refusal := next(refusals, None)) is not None:
            raise refusal
        return then

    return answer


async def test_a_read_is_repeated_while_its_server_is_away(edge: Edge, mesh: Client) -> None:
    edge.answers["ListSymbols"] = failing(2, SYMBOLS)

    assert await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest()) == SYMBOLS

    assert len(edge.called("ListSymbols")) == 3


async def test_what_acts_again_is_never_repeated(edge: Edge, mesh: Client) -> None:
    edge.answers["CreateUser"] = failing(1, user_service_pb2.CreateUserResponse(user=user_pb2.User(username="bob")))

    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await mesh.users.CreateUser(A_USER)

    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert len(edge.called("CreateUser")) == 1


async def test_retries_end_when_their_budget_is_spent(edge: Edge, mesh: Client) -> None:
    edge.answers["ListSymbols"] = failing(1000, SYMBOLS)

    for _ in range(6):
        with pytest.raises(grpc.aio.AioRpcError):
            await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())

    assert len(edge.called("ListSymbols")) <= 11, "and not 24"


async def test_a_call_ends_at_the_deadline_of_the_contract_and_no_sooner(edge: Edge, mesh: Client) -> None:
    edge.answers["ListSymbols"] = lambda _: edge.stopped.wait()
    started = time.monotonic()

    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())

    assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 1.9 < time.monotonic() - started < 4


async def test_the_server_learns_of_the_deadline(edge: Edge, mesh: Client) -> None:
    await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())
    await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest(), timeout=1)
    await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest(), timeout=60)

    told = [call.seconds_left or 0 for call in edge.called("ListSymbols")]
    assert told == [pytest.approx(limit, abs=0.5) for limit in (2, 1, 2)]


def test_every_unary_method_has_a_deadline_and_no_stream_has_one() -> None:
    deadlines = Deadlines(*SERVICES)

    for service in SERVICES:
        for method in service.methods:
            call = grpc.aio.ClientCallDetails(f"/{service.full_name}/{method.name}", None, None, None, None)
            assert (deadlines.limit(call) is None) == method.server_streaming, method.full_name


def test_only_what_gives_tokens_or_lets_them_be_checked_is_public() -> None:
    assert {path.removeprefix("/levimesh.auth.v1.") for path in public_methods(*SERVICES)} == {
        "AuthService/Login",
        "AuthService/RefreshSession",
        "AuthService/GetJwks",
        "OAuthService/Authorize",
        "OAuthService/GetOpenIdConfiguration",
        "OAuthService/ShowLogin",
        "OAuthService/Token",
    }


async def test_many_calls_at_once_share_one_login(edge: Edge, mesh: Client) -> None:
    await asyncio.gather(*(mesh.marketdata.ListSymbols(pb.ListSymbolsRequest()) for _ in range(50)))

    assert edge.issued == ["token-1"]
    assert {call.token for call in edge.called("ListSymbols")} == {"token-1"}


async def test_many_calls_whose_token_is_refused_share_one_renewal(edge: Edge, mesh: Client) -> None:
    await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())
    edge.expired.add("token-1")

    await asyncio.gather(*(mesh.marketdata.ListSymbols(pb.ListSymbolsRequest()) for _ in range(20)))

    assert edge.issued == ["token-1", "token-2"]


async def test_a_call_whose_new_token_is_refused_too_fails(edge: Edge, mesh: Client) -> None:
    edge.expired |= {"token-1", "token-2"}

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())

    assert details(refused.value).reason == "ERROR_REASON_TOKEN_EXPIRED"
    assert len(edge.called("ListSymbols")) == 2


async def test_a_wrong_password_is_tried_once_for_all_who_wait(edge: Edge) -> None:
    profile = Profile(edge.profile.gateway, edge.profile.ca, "alice", "wrong")

    async with Client.connect(profile) as mesh:
        calls = (mesh.marketdata.ListSymbols(pb.ListSymbolsRequest()) for _ in range(20))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)

    reasons = {details(outcome).reason for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)}
    assert reasons == {"ERROR_REASON_CREDENTIALS_INVALID"}
    assert len(edge.called("Login")) == 1
    assert edge.called("ListSymbols") == []


async def test_a_call_that_is_repeated_with_a_new_token_keeps_its_first_deadline(edge: Edge, mesh: Client) -> None:
    await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())
    edge.expired.add("token-1")

    def slowly(request: Any) -> Any:
        edge.stopped.wait(1.0)
        return edge.refresh(request)

    edge.answers["RefreshSession"] = slowly
    await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())

    *_, first, second = edge.called("ListSymbols")
    assert (first.seconds_left or 0) - (second.seconds_left or 0) >= 1.0


async def test_a_call_of_a_session_that_was_ended_is_made_again_with_a_new_token(edge: Edge, mesh: Client) -> None:
    await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())
    edge.ended.add("token-1")

    assert await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest()) == SYMBOLS


async def test_a_read_that_came_too_soon_is_made_again_when_there_are_more_calls(edge: Edge, mesh: Client) -> None:
    edge.answers["ListSymbols"] = limited(2, 0.2, SYMBOLS)
    started = time.monotonic()

    assert await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest()) == SYMBOLS

    first, second, third = edge.called("ListSymbols")
    assert time.monotonic() - started >= 0.4
    assert (first.seconds_left or 0) > (second.seconds_left or 0) > (third.seconds_left or 0)


async def test_a_call_that_would_have_to_wait_beyond_its_deadline_fails_at_once(edge: Edge, mesh: Client) -> None:
    edge.answers["ListSymbols"] = limited(1, 30.0, SYMBOLS)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())

    assert details(refused.value).retry_after == 30.0
    assert len(edge.called("ListSymbols")) == 1


async def test_what_acts_again_is_not_repeated_when_it_came_too_soon(edge: Edge, mesh: Client) -> None:
    edge.answers["CreateUser"] = limited(1, 0.1, user_service_pb2.CreateUserResponse())

    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.users.CreateUser(A_USER)

    assert len(edge.called("CreateUser")) == 1


async def test_a_refused_call_that_another_token_cannot_heal_is_not_repeated(edge: Edge, mesh: Client) -> None:
    def refuse(request: Any) -> Any:
        raise Aborted(grpc.StatusCode.UNAUTHENTICATED, "not like this")

    edge.answers["ListSymbols"] = refuse

    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())

    assert len(edge.called("ListSymbols")) == 1
    assert edge.issued == ["token-1"]


async def test_a_call_that_is_cancelled_ends_on_the_server_too(edge: Edge, mesh: Client) -> None:
    reached = threading.Event()

    def slow(request: Any) -> Any:
        reached.set()
        edge.stopped.wait()

    edge.answers["ListSymbols"] = slow
    call = asyncio.create_task(_list_symbols(mesh))
    await asyncio.to_thread(reached.wait, 10)

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    assert await asyncio.to_thread(edge.called("ListSymbols")[0].ended.wait, 1.0), "long before its deadline"


async def _list_symbols(mesh: Client) -> pb.ListSymbolsResponse:
    return await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())


async def test_an_authority_that_cannot_be_read_is_named(edge: Edge, tmp_path: Path) -> None:
    profile = Profile(edge.profile.gateway, str(tmp_path / "missing.pem"))

    with pytest.raises(ProfileError, match=r"missing\.pem cannot be read: No such file"):
        async with Client.connect(profile):
            pass
