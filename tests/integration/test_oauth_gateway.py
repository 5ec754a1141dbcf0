"""OAuth as clients and browsers meet it: the real auth service behind a real Envoy."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from tests.auth import ADMIN, ADMIN_PASSWORD, auth_settings, running_auth
from tests.gateway import Calls, Gateway, recorders, running_gateway
from tests.issuer import AUDIENCE, IssuerKey, running_issuer
from tests.oauth import CALLBACK, CLIENTS, REQUEST, VERIFIER

PAGE = "/oauth2/authorize"


async def healthy(http: aiohttp.ClientSession) -> bool:
    """Whether every service is healthy, and the keys are there."""
    nobody = {"authorization": "Bearer x.y.z"}
    async with http.get("/health") as health, http.get("/v1/symbols", headers=nobody) as refused:
        return health.status == 200 and refused.status == 401


@pytest.fixture
async def gateway(database_url: Callable[[str], str], redis_url: str, certificates: Path) -> AsyncIterator[Gateway]:
    settings = auth_settings(database_url("auth"), redis_url=redis_url, oauth_clients=CLIENTS)
    async with AsyncExitStack() as stack:
        auth = await stack.enter_async_context(running_auth(settings, certificates))
        await auth.create_admin()
        others = await stack.enter_async_context(
            recorders(certificates, Calls(), "marketdata", "prediction", "trading")
        )
        endpoints = {workload: (served.target,) for workload, served in others.items()}
        endpoints["auth"] = (auth.served.target,)
        yield await stack.enter_async_context(running_gateway(certificates, endpoints, ready=healthy))


async def test_a_browser_logs_in_and_the_client_gets_a_session(gateway: Gateway) -> None:
    http = gateway.http
    # Clients send more than we know.
    async with http.get(PAGE, params={**REQUEST, "nonce": "n", "prompt": "login"}) as page:
        assert (page.status, page.content_type) == (200, "text/html")
        assert "form-action 'self' https://app.example.com;" in page.headers["content-security-policy"]
        assert "x-levimesh-http-status" not in page.headers
        assert 'name="password"' in await page.text()

    form = {**REQUEST, "username": ADMIN, "password": "wrong"}
    async with http.post(PAGE, data=form) as again:
        assert (again.status, again.content_type) == (401, "text/html")
    async with http.post(PAGE, data={**form, "password": ADMIN_PASSWORD}, allow_redirects=False) as away:
        assert away.status == 303
        parameters = dict(parse_qsl(urlsplit(away.headers["location"]).query))

    grant = {"grant_type": "authorization_code", "client_id": "web", "redirect_uri": CALLBACK}
    grant |= {"code": parameters["code"], "code_verifier": VERIFIER}
    async with http.post("/oauth2/token", data=grant) as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert answer.headers["cache-control"] == "no-store"
        tokens = await answer.json()
    async with http.get("/v1/users/me", headers={"authorization": f"Bearer {tokens['access_token']}"}) as me:
        assert (await me.json())["user"]["username"] == ADMIN


async def test_a_program_exchanges_its_key_and_is_refused_in_the_protocols_form(gateway: Gateway) -> None:
    http = gateway.http
    async with http.post("/v1/auth/login", json={"username": ADMIN, "password": ADMIN_PASSWORD}) as login:
        bearer = {"authorization": f"Bearer {(await login.json())['access_token']}"}
    async with http.post("/v1/api-keys", json={"name": "robot", "scopes": ["SCOPE_READ"]}, headers=bearer) as made:
        key = await made.json()
    coded = base64.b64encode(f"{key['api_key']['prefix']}:{key['secret']}".encode()).decode()
    grant = {"grant_type": "client_credentials"}

    async with http.post("/oauth2/token", data=grant, headers={"authorization": f"Basic {coded}"}) as answer:
        assert answer.status == 200
        assert (await answer.json())["scope"] == "read"
    async with http.post("/oauth2/token", data=grant, headers={"authorization": "Basic eDp5"}) as refused:
        assert (refused.status, refused.content_type) == (401, "application/json")
        assert refused.headers["www-authenticate"].startswith("Basic ")
        assert (await refused.json())["error"] == "invalid_client"
    async with http.post("/oauth2/token", data={"grant_type": "password"}) as refused:
        assert (refused.status, (await refused.json())["error"]) == (400, "unsupported_grant_type")


async def test_nobody_is_sent_astray(gateway: Gateway) -> None:
    astray = {**REQUEST, "redirect_uri": "https://evil.example.com/"}
    async with gateway.http.get(PAGE, params=astray, allow_redirects=False) as refused:
        assert (refused.status, refused.content_type) == (400, "text/html")
        assert "location" not in refused.headers


async def test_the_issuer_describes_itself_at_both_addresses(gateway: Gateway) -> None:
    for path in ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
        async with gateway.http.get(path) as described:
            assert described.status == 200
            assert (await described.json())["code_challenge_methods_supported"] == ["S256"]


async def test_somebody_of_another_issuer_calls_with_the_token_from_there(
    database_url: Callable[[str], str], redis_url: str, certificates: Path
) -> None:
    async with AsyncExitStack() as stack:
        issuer = await stack.enter_async_context(running_issuer())
        key = IssuerKey.of("RS256")
        issuer.publish(key)
        known = [{"issuer": issuer.url, "audience": AUDIENCE, "jwks_uri": issuer.jwks_uri, "roles": {"t": "trader"}}]
        settings = auth_settings(database_url("auth"), redis_url=redis_url, external_issuers=known)
        auth = await stack.enter_async_context(running_auth(settings, certificates))
        others = await stack.enter_async_context(
            recorders(certificates, Calls(), "marketdata", "prediction", "trading")
        )
        endpoints = {workload: (served.target,) for workload, served in others.items()}
        endpoints["auth"] = (auth.served.target,)
        bearer = {"authorization": f"Bearer {issuer.token(key, 't')}"}

        async def comes_in(http: aiohttp.ClientSession) -> bool:
            async with http.get("/v1/users/me", headers=bearer) as me:
                return me.status == 200

        running = running_gateway(certificates, endpoints, ready=comes_in, external_issuers=known)
        http = (await stack.enter_async_context(running)).http

        async with http.get("/v1/users/me", headers=bearer) as me:
            user = (await me.json())["user"]
        stranger = {"authorization": f"Bearer {issuer.token(key, 'unknown')}"}
        async with http.get("/v1/users/me", headers=stranger) as refused:
            reason = (await refused.json())["details"][0]["reason"]

    assert (user["username"], user["roles"]) == ("ann-example.com", ["ROLE_TRADER"])
    assert (refused.status, reason) == (403, "ERROR_REASON_ROLE_NOT_ALLOWED")
