"""The page on which a person logs in for a client."""

import html
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pyotp
import pytest
from pydantic import ValidationError

from levimesh.auth.v1 import user_service_pb2 as user_pb
from tests.auth import ADMIN, ADMIN_PASSWORD, SetClock, auth_settings, running_auth
from tests.mesh import bearing
from tests.oauth import CALLBACK, CLIENTS, OAuth

ISSUER = "https://mesh.example.com"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def oauth(database_url: Callable[[str], str], certificates: Path, clock: SetClock) -> AsyncIterator[OAuth]:
    settings = auth_settings(database_url("auth"), oauth_clients=CLIENTS)
    async with running_auth(settings, certificates, now=clock) as running:
        await running.create_admin()
        yield OAuth.of(running)


def fields_of(page: str) -> dict[str, str]:
    """The fields of the form with their values."""
    inputs = re.findall(r'<input [^>]*name="(\w+)"(?:[^>]*? value="([^"]*)")?', page)
    return {name: html.unescape(value) for name, value in inputs}


async def test_the_page_asks_who_you_are_and_loads_nothing(oauth: OAuth) -> None:
    answer = await oauth.show_login()

    assert (answer.status, answer.content_type) == (200, "text/html; charset=utf-8")
    assert fields_of(answer.text).keys() >= {"username", "password", "second_factor", "code_challenge", "state"}
    assert answer.headers["cache-control"] == "no-store"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self' https://app.example.com;" in policy
    assert not re.search(r"<script|<img|<link|src=|@import|url\(", answer.text)
    assert 'lang="en"' in answer.text
    assert all(f'<label for="{name}">' in answer.text for name in ("username", "password", "second_factor"))


async def test_a_login_goes_back_to_the_client_with_code_state_and_issuer(oauth: OAuth) -> None:
    answer = await oauth.log_in()

    assert answer.status == 303
    location = answer.location
    assert location["to"] == "https://app.example.com/callback"
    assert location.keys() == {"to", "from", "code", "state", "iss"}
    assert (location["from"], location["state"], location["iss"]) == ("levimesh", "<state>&", "levimesh")


async def test_what_a_client_says_is_shown_as_text(oauth: OAuth) -> None:
    evil = "\"><script>alert('x')</script>"

    shown = await oauth.show_login(state=evil)
    again = await oauth.log_in(evil, "wrong", state=evil)

    for answer in (shown, again):
        assert "<script" not in answer.text
        assert fields_of(answer.text)["state"] == evil
    assert fields_of(again.text)["username"] == evil


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "other"},
        {"redirect_uri": "https://evil.example.com/"},
        {"redirect_uri": CALLBACK + "&more"},
        {"redirect_uri": ""},
        {"client_id": "desk"},
    ],
)
async def test_nobody_is_sent_to_an_address_that_is_not_known(oauth: OAuth, changes: dict[str, str]) -> None:
    for answer in (await oauth.show_login(**changes), await oauth.log_in(**changes)):
        assert answer.status == 400
        assert "location" not in answer.headers
        assert "evil.example.com" not in answer.text


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"scope": "openid everything"}, "invalid_scope"),
        ({"prompt": "none"}, "login_required"),
        ({"nonce": "\0"}, "invalid_request"),
    ],
)
async def test_a_client_is_told_what_it_got_wrong(oauth: OAuth, changes: dict[str, str], error: str) -> None:
    for answer in (await oauth.show_login(**changes), await oauth.log_in(**changes)):
        assert answer.status == 303
        location = answer.location
        assert (location["to"], location["error"]) == ("https://app.example.com/callback", error)
        assert location["state"] == "<state>&"
        assert "code" not in location


@pytest.mark.parametrize(
    ("username", "password"),
    [(ADMIN, "wrong"), ("nobody", ADMIN_PASSWORD), ("", ""), ("root\0", ADMIN_PASSWORD), ("r" * 65, "p" * 257)],
)
async def test_a_wrong_password_gives_the_page_again(oauth: OAuth, username: str, password: str) -> None:
    answer = await oauth.log_in(username, password)

    assert answer.status == 401
    assert 'role="alert"' in answer.text
    assert "The user name, the password or the code is wrong." in answer.text
    assert "password" not in fields_of(answer.text) or not fields_of(answer.text)["password"]
    event = oauth.running.audit.events[-1]
    assert (event.outcome, event.status) == (2, "UNAUTHENTICATED ERROR_REASON_CREDENTIALS_INVALID")


async def test_failed_logins_lock_the_name_here_as_everywhere(oauth: OAuth) -> None:
    for _ in range(20):
        answer = await oauth.log_in(password="wrong")
        if answer.status == 429:
            break

    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    assert (await oauth.log_in()).status == 429


async def test_a_form_from_another_site_is_refused(oauth: OAuth) -> None:
    answer = await oauth.log_in(ADMIN, ADMIN_PASSWORD, ("sec-fetch-site", "cross-site"))

    assert answer.status == 400
    assert (await oauth.log_in(ADMIN, ADMIN_PASSWORD, ("sec-fetch-site", "same-origin"))).status == 303


async def test_a_second_factor_is_asked_for(oauth: OAuth, clock: SetClock) -> None:
    admin = await oauth.running.login()
    users = oauth.running.users()
    enrolled = await users.EnrollTotp(user_pb.EnrollTotpRequest(current_password=ADMIN_PASSWORD), metadata=admin)
    authenticator = pyotp.parse_uri(enrolled.otpauth_uri)
    assert isinstance(authenticator, pyotp.TOTP)
    await users.ConfirmTotp(user_pb.ConfirmTotpRequest(code=authenticator.at(clock())), metadata=admin)
    clock.move(seconds=30)

    without = await oauth.log_in()
    with_code = await oauth.log_in(second_factor=authenticator.at(clock()))

    assert without.status == 401
    assert "code of your authenticator" in without.text
    assert with_code.status == 303
    answer = await oauth.exchange(with_code.location["code"])
    me = await users.GetCurrentUser(user_pb.GetCurrentUserRequest(), metadata=bearing(answer.json["access_token"]))
    assert me.user.username == ADMIN


@pytest.mark.parametrize(
    "address",
    [
        "http://app.example.com/",
        "https://app.example.com/#here",
        "https://user@app.example.com/",
        "javascript:alert(1)",
        "https://app.example.com;script-src */",
        "https://app.example.com/a b",
    ],
)
def test_addresses_that_are_not_safe_are_no_settings(address: str) -> None:
    with pytest.raises(ValidationError):
        auth_settings("postgresql://", oauth_clients={"web": [address]})
