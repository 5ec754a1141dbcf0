"""How a client stays who it is: sessions that are renewed, shared and begun anew, and API keys."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from levimesh.client import Client, Profile, ProfileError, Session, details, login
from levimesh.client.session import SessionFile
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from tests.edge import PASSWORD, Aborted, Edge

SYMBOLS = pb.ListSymbolsResponse()
A_KEY = "lm_abcdefgh_the-secret-part"


@pytest.fixture(autouse=True)
def symbols(edge: Edge) -> None:
    edge.answers["ListSymbols"] = lambda _: SYMBOLS


async def call(mesh: Client) -> None:
    await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())


def shared(edge: Edge, path: Path) -> Profile:
    """Alice without a password, whose session is in the file ``path``."""
    known = edge.profile
    return replace(known, password="", session_file=SessionFile(path, known.gateway, "alice", known.ca))


async def logged_in(edge: Edge, path: Path) -> Profile:
    """The same after a login."""
    profile = shared(edge, path)
    assert profile.session_file is not None
    async with Client.connect(profile) as mesh:
        profile.session_file.write(await login(mesh.auth, "alice", PASSWORD))
    return profile


def kept(path: Path) -> dict[str, Any]:
    session: dict[str, Any] = json.loads(path.read_text())["session"]
    return session


def losing_answers(edge: Edge, times: int) -> Callable[[Any], Any]:
    """Exchanges that happen, and whose answers are lost ``times`` times."""
    lost = iter([True] * times)

    def answer(request: Any) -> Any:
        response = edge.refresh(request)
        if next(lost, False):
            raise Aborted(grpc.StatusCode.INTERNAL, "lost")
        return response

    return answer


async def test_an_expired_token_is_renewed_by_the_session_and_not_by_a_new_login(edge: Edge) -> None:
    async with Client.connect(edge.profile) as mesh:
        await call(mesh)
        edge.expired.add("token-1")
        await call(mesh)

    assert [each.token for each in edge.called("ListSymbols")] == ["token-1", "token-1", "token-2"]
    assert len(edge.called("Login")) == 1
    assert [each.request.refresh_token for each in edge.called("RefreshSession")] == ["next-1"]


async def test_a_profile_may_begin_with_a_refresh_token(edge: Edge) -> None:
    edge.refreshable.add("a refresh token")
    profile = replace(edge.profile, username="", password="", session=Session(refresh_token="a refresh token"))

    async with Client.connect(profile) as mesh:
        await call(mesh)

    assert edge.called("Login") == []


async def test_an_exchange_whose_answer_was_lost_is_made_again_with_the_same_id(edge: Edge) -> None:
    edge.answers["RefreshSession"] = losing_answers(edge, 1)
    async with Client.connect(edge.profile) as mesh:
        await call(mesh)
        edge.expired.add("token-1")
        with pytest.raises(grpc.aio.AioRpcError):
            await call(mesh)
        await call(mesh)

    first, second = edge.called("RefreshSession")
    assert first.request == second.request
    assert len(edge.called("Login")) == 1


async def test_an_exchange_whose_answer_was_lost_is_taken_up_by_another_process(edge: Edge, tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    profile = await logged_in(edge, path)
    edge.expired.add("token-1")
    edge.answers["RefreshSession"] = losing_answers(edge, 1)

    async with Client.connect(profile) as dies:
        with pytest.raises(grpc.aio.AioRpcError):
            await call(dies)
    async with Client.connect(profile) as mesh:
        await call(mesh)

    first, second = edge.called("RefreshSession")
    assert first.request == second.request
    assert kept(path)["refresh_token"] == "next-2"


async def test_each_exchange_has_an_id_of_its_own(edge: Edge) -> None:
    edge.token_life = 0
    async with Client.connect(edge.profile) as mesh:
        for _ in range(3):
            await call(mesh)

    assert len({each.request.request_id for each in edge.called("RefreshSession")}) == 2


async def test_many_clients_that_share_a_session_exchange_each_token_once(edge: Edge, tmp_path: Path) -> None:
    profile = await logged_in(edge, tmp_path / "credentials.json")
    edge.expired.add("token-1")

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client.connect(profile)) for _ in range(8)]
        await asyncio.gather(*(call(mesh) for mesh in clients for _ in range(3)))

    assert [each.request.refresh_token for each in edge.called("RefreshSession")] == ["next-1"]
    assert len(edge.called("Login")) == 1


async def test_a_token_that_another_process_was_given_is_used(edge: Edge, tmp_path: Path) -> None:
    profile = await logged_in(edge, tmp_path / "credentials.json")

    async with Client.connect(profile) as first, Client.connect(profile) as second:
        await call(first)
        edge.ended.add("token-1")
        await call(second)
        await call(first)

    assert len(edge.called("RefreshSession")) == 1
    assert edge.called("ListSymbols")[-1].token == "token-2"


async def test_a_session_of_somebody_else_in_the_file_is_not_taken_for_ones_own(edge: Edge, tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    await logged_in(edge, path)
    before = path.read_text()
    others = shared(edge, path)
    bob = replace(others, username="bob", session_file=SessionFile(path, others.gateway, "bob", others.ca))
    elsewhere = replace(others, session_file=SessionFile(path, "mesh.example.com:443", "alice"))

    for profile in (bob, elsewhere):
        async with Client.connect(profile) as mesh:
            with pytest.raises(ProfileError, match="nobody is logged in at"):
                await call(mesh)

    assert path.read_text() == before


async def test_a_session_that_was_ended_is_begun_anew_by_the_password(edge: Edge) -> None:
    async with Client.connect(edge.profile) as mesh:
        await call(mesh)
        edge.ended.add("token-1")
        edge.refreshable.clear()
        await call(mesh)

    assert len(edge.called("Login")) == 2


async def test_without_a_password_it_is_said_how_to_log_in_and_the_end_is_not_asked_for_again(
    edge: Edge, tmp_path: Path
) -> None:
    profile = await logged_in(edge, tmp_path / "credentials.json")
    edge.ended.add("token-1")
    edge.refreshable.clear()

    async with Client.connect(profile) as mesh:
        for _ in range(3):
            with pytest.raises(ProfileError) as ended:
                await call(mesh)

    assert str(ended.value) == (
        f"the login of alice at {profile.gateway} has expired or was ended: "
        f"run `levimesh login alice --gateway {profile.gateway} --ca {profile.ca}`"
    )
    assert len(edge.called("RefreshSession")) == 1


async def test_a_mesh_that_is_away_ends_no_session(edge: Edge, tmp_path: Path) -> None:
    profile = await logged_in(edge, tmp_path / "credentials.json")
    edge.expired.add("token-1")
    edge.stop()

    async with Client.connect(profile) as mesh:
        with pytest.raises(grpc.aio.AioRpcError):
            await call(mesh)
    edge.start()
    async with Client.connect(profile) as mesh:
        await call(mesh)


async def test_a_code_is_asked_for_only_when_the_mesh_wants_one(edge: Edge) -> None:
    asked: list[str] = []

    async def code() -> str:
        asked.append("code")
        return "123456"

    profile = replace(edge.profile, second_factor=code)
    async with Client.connect(profile) as mesh:
        await call(mesh)
    assert asked == []

    edge.code = "123456"
    async with Client.connect(profile) as mesh:
        await call(mesh)
    assert asked == ["code"]


async def test_a_code_that_is_wanted_and_cannot_be_given_is_an_error(edge: Edge) -> None:
    edge.code = "123456"

    async with Client.connect(edge.profile) as mesh:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(mesh)

    assert details(refused.value).reason == "ERROR_REASON_SECOND_FACTOR_REQUIRED"


async def test_an_api_key_is_exchanged_for_a_token_and_again_when_that_is_refused(edge: Edge) -> None:
    edge.api_keys.add(A_KEY)
    profile = Profile(edge.profile.gateway, edge.profile.ca, api_key=A_KEY)

    async with Client.connect(profile) as mesh:
        await asyncio.gather(call(mesh), call(mesh))
        edge.expired.add("token-1")
        await call(mesh)

    assert [each.request.form.data for each in edge.called("Token")] == [b"grant_type=client_credentials"] * 2
    assert edge.called("Login") == []


async def test_an_api_key_that_is_refused_is_named_by_its_beginning(edge: Edge) -> None:
    profile = Profile(edge.profile.gateway, edge.profile.ca, api_key=A_KEY)

    async with Client.connect(profile) as mesh:
        with pytest.raises(ProfileError, match=r"the API key lm_abcdefgh… is refused at .*: the API key was revoked"):
            await call(mesh)


async def test_a_new_api_key_in_its_file_is_used_from_the_next_token_on(edge: Edge, tmp_path: Path) -> None:
    path, new = tmp_path / "key", "lm_ijklmnop_another"
    edge.api_keys.add(A_KEY)
    path.write_text(f"{A_KEY}\n")
    profile = Profile(edge.profile.gateway, edge.profile.ca, api_key_file=path)

    async with Client.connect(profile) as mesh:
        await call(mesh)
        edge.ended.add("token-1")
        edge.api_keys = {new}
        path.write_text(f"{new}\n")
        await call(mesh)


async def test_a_file_without_an_api_key_is_named(edge: Edge, tmp_path: Path) -> None:
    path = tmp_path / "key"

    for problem in (r"key cannot be read: No such file", "there is no API key in"):
        async with Client.connect(Profile(edge.profile.gateway, edge.profile.ca, api_key_file=path)) as mesh:
            with pytest.raises(ProfileError, match=problem):
                await call(mesh)
        path.touch()


async def test_a_stored_token_is_used_until_it_expires(edge: Edge, tmp_path: Path) -> None:
    edge.issued.append("stored")
    profile = replace(edge.profile, session=Session("stored", time.time() + 300))

    async with Client.connect(profile) as mesh:
        await call(mesh)

    assert {each.method for each in edge.calls} == {"ListSymbols"}
