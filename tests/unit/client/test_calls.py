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
from tests.edge import Aborted, Edge

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


def test_only_what_logs_somebody_in_and_the_keys_are_public() -> None:
    assert public_methods(*SERVICES) == {
        "/levimesh.auth.v1.AuthService/Login",
        "/levimesh.auth.v1.AuthService/RefreshSession",
        "/levimesh.auth.v1.AuthService/GetJwks",
    }


async def test_many_calls_at_once_share_one_login(edge: Edge, mesh: Client) -> None:
    await asyncio.gather(*(mesh.marketdata.ListSymbols(pb.ListSymbolsRequest()) for _ in range(50)))

    assert edge.issued == ["token-1"]
    assert {call.token for call in edge.called("ListSymbols")} == {"token-1"}


async def test_many_calls_whose_token_is_refused_share_one_login(edge: Edge, mesh: Client) -> None:
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


async def test_a_refused_call_that_another_token_cannot_heal_is_not_repeated(edge: Edge, mesh: Client) -> None:
    def refuse(request: Any) -> Any:
        raise Aborted(grpc.StatusCode.UNAUTHENTICATED, "not like this")

    edge.answers["ListSymbols"] = refuse

    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())

    assert len(edge.called("ListSymbols")) == 1
    assert edge.issued == ["token-1"]


async def test_a_stored_token_is_used_until_it_expires(edge: Edge) -> None:
    edge.issued.append("token-1")
    edge.answers["ListSymbols"] = lambda _: SYMBOLS
    profile = Profile(
        edge.profile.gateway, edge.profile.ca, "alice", access_token="token-1", expires_at=time.time() + 300
    )

    async with Client.connect(profile) as mesh:
        await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())

    assert edge.called("Login") == []


async def test_a_login_that_has_expired_says_what_to_do(edge: Edge) -> None:
    profile = Profile(edge.profile.gateway, edge.profile.ca, "alice", access_token="old", expires_at=time.time() - 1)

    async with Client.connect(profile) as mesh:
        with pytest.raises(ProfileError, match=r"the login of alice at .* has expired: run `levimesh login alice`"):
            await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())
        with pytest.raises(ProfileError, match="has expired"):
            await anext(mesh.trades())

    assert edge.calls == []


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
