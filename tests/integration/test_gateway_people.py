"""UserService over REST, through Envoy."""

import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.gateway import Calls, Gateway, recorders, running_gateway
from tests.people import ANN_PASSWORD, People, running_people

NEW_PASSWORD = "another long password"


@dataclass(frozen=True)
class Edge:
    """A gateway in front of an auth service with people."""

    gateway: Gateway
    people: People

    async def login(self, username: str, password: str) -> dict[str, str]:
        """The header with a token of the user."""
        session = await self.people.login(username, password)
        return {"authorization": f"Bearer {session.access_token}"}

    async def call(self, method: str, path: str, by: dict[str, str], **body: Any) -> tuple[int, Any]:
        """The HTTP status and the body of an answer."""
        async with self.gateway.http.request(method, path, headers=by, json=body or None) as response:
            return response.status, await response.json()


@pytest_asyncio.fixture
async def edge(database_url: Callable[[str], str], redis_url: str, certificates: Path) -> AsyncIterator[Edge]:
    async with (
        running_people(database_url("auth"), certificates, redis_url=redis_url) as people,
        recorders(certificates, Calls(), "marketdata", "prediction", "trading") as servers,
    ):
        endpoints = {workload: (served.target,) for workload, served in servers.items()}
        auth = (people.running.served.target,)
        async with running_gateway(certificates, {**endpoints, "auth": auth}) as gateway:
            yield Edge(gateway, people)


async def test_an_admin_keeps_people_over_rest(edge: Edge) -> None:
    root = {"authorization": edge.people.admin[0][1]}
    new = {"username": "bob", "password": NEW_PASSWORD, "roles": ["ROLE_VIEWER"]}
    _, created = await edge.call("POST", "/v1/users", root, **new)
    path = f"/v1/users/{created['user']['user_id']}"

    change = {"roles": ["ROLE_TRADER"], "rate_tier": "RATE_TIER_ELEVATED"}
    _, changed = await edge.call("PATCH", path, root, **change, update_mask="roles,rateTier")
    refused, problem = await edge.call("PATCH", path, root, **change, update_mask="username")
    _, disabled = await edge.call("POST", f"{path}:disable", root)
    _, enabled = await edge.call("POST", f"{path}:enable", root)
    _, reset = await edge.call("POST", f"{path}:resetPassword", root)
    assert await edge.login("bob", reset["password"])
    deleted, _ = await edge.call("DELETE", path, root)
    gone, _ = await edge.call("GET", path, root)

    assert changed["user"] | change == changed["user"]
    assert (refused, problem["message"]) == (
        400,
        "update_mask: must name roles, rate_tier or both, and nothing else",
    )
    assert disabled["user"]["disabled"]
    assert enabled["user"] == changed["user"]
    assert (deleted, gone) == (200, 404)


async def test_a_user_keeps_the_own_password_and_second_factor_over_rest(edge: Edge) -> None:
    ann = await edge.login("ann", ANN_PASSWORD)

    _, enrolment = await edge.call("POST", "/v1/users/me/totp", ann, current_password=ANN_PASSWORD)
    wrong, _ = await edge.call("POST", "/v1/users/me/totp:confirm", ann, code="000000")
    passwords = {"current_password": ANN_PASSWORD, "new_password": NEW_PASSWORD}
    changed, _ = await edge.call("POST", "/v1/users/me:changePassword", ann, **passwords)

    assert enrolment["otpauth_uri"].startswith("otpauth://totp/LeviMesh:ann?")
    assert base64.b64decode(enrolment["qr_png"]).startswith(b"\x89PNG")
    assert (wrong, changed) == (400, 200)
    assert await edge.login("ann", NEW_PASSWORD)


async def test_a_locked_login_says_over_rest_when_to_try_again(edge: Edge) -> None:
    guess = {"username": "ann", "password": "a guess"}
    for _ in range(5):
        assert (await edge.call("POST", "/v1/auth/login", {}, **guess))[0] == 401

    async with edge.gateway.http.post("/v1/auth/login", json=guess) as answer:
        body = await answer.json()

    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    retry = next(detail for detail in body["details"] if "retry_delay" in detail)
    assert retry["retry_delay"] == "1s"


async def test_an_answer_that_says_when_to_try_again_says_it_in_a_header_too(edge: Edge) -> None:
    """Also where another part is away; and no other error says so."""
    edge.people.running.audit.works = False
    async with edge.gateway.http.post("/v1/auth/login", json={"username": "ann", "password": "x"}) as away:
        pass
    edge.people.running.audit.works = True
    async with edge.gateway.http.post("/v1/auth/login", json={"username": "ann", "password": "x"}) as wrong:
        pass

    assert (away.status, away.headers["retry-after"]) == (503, "1")
    assert wrong.status == 401
    assert "retry-after" not in wrong.headers
