"""PKCE, authorization requests, scopes and forms."""

import base64

import pytest
from google.api import httpbody_pb2

from services.auth import oauth_converters as convert
from services.auth.domain.oauth import (
    AuthorizationRequest,
    Client,
    OAuthError,
    Refused,
    UnknownClient,
    proves,
    scopes_asked,
)
from services.auth.domain.tokens import Scope
from services.auth.use_cases.oauth import ClientSecret

# The example of RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
CALLBACK = "https://app.example.com/callback?a=1"
CLIENTS = {"web": Client("web", frozenset({CALLBACK}))}
SAID = {
    "response_type": "code",
    "client_id": "web",
    "redirect_uri": CALLBACK,
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "state": "a state",
}


def test_a_verifier_proves_the_challenge_that_was_made_of_it() -> None:
    assert proves(VERIFIER, CHALLENGE)
    assert not proves(VERIFIER[:-1] + "l", CHALLENGE)
    assert not proves(CHALLENGE, CHALLENGE)
    assert not proves("ü" * 43, CHALLENGE)
    assert not proves("x" * 129, CHALLENGE)


def test_an_answer_keeps_the_query_of_the_redirect_uri() -> None:
    request = AuthorizationRequest.parse(SAID, CLIENTS)

    assert request.answer(code="c d") == "https://app.example.com/callback?a=1&code=c+d&state=a+state"
    assert request.redirect_origin == "https://app.example.com"


@pytest.mark.parametrize("redirect_uri", [CALLBACK + "/", CALLBACK.upper(), "https://app.example.com/callback", ""])
def test_a_redirect_uri_fits_exactly_or_not_at_all(redirect_uri: str) -> None:
    with pytest.raises(UnknownClient):
        AuthorizationRequest.parse({**SAID, "redirect_uri": redirect_uri}, CLIENTS)


@pytest.mark.parametrize("missing", ["response_type", "code_challenge", "code_challenge_method"])
def test_a_request_without_pkce_is_refused(missing: str) -> None:
    with pytest.raises(Refused):
        AuthorizationRequest.parse({name: value for name, value in SAID.items() if name != missing}, CLIENTS)


def test_scopes_are_known_ones_with_spaces_between() -> None:
    assert scopes_asked("") == frozenset()
    assert scopes_asked("read trade read") == {Scope.READ, Scope.TRADE}
    with pytest.raises(OAuthError) as refused:
        scopes_asked("read,trade")
    assert refused.value.code == "invalid_scope"


def a_form(data: str, content_type: str = "application/x-www-form-urlencoded; charset=UTF-8") -> httpbody_pb2.HttpBody:
    return httpbody_pb2.HttpBody(content_type=content_type, data=data.encode())


def test_a_form_is_read_as_browsers_write_it() -> None:
    assert convert.form_of(a_form("a=1+2&b=%C3%A4&c=")) == {"a": "1 2", "b": "ä"}


@pytest.mark.parametrize("data", ["a=1&a=2", "a=%ff", "a=ä", "&".join(f"f{number}=1" for number in range(40))])
def test_a_form_that_is_none_is_refused(data: str) -> None:
    with pytest.raises(OAuthError):
        convert.form_of(a_form(data))


def test_http_basic_holds_what_was_encoded_for_it() -> None:
    coded = base64.b64encode(b"lm_a%3Ab:s%2Bc+d").decode()

    found = convert.client_of({"authorization": f"basic {coded}"}, {})

    assert found == ClientSecret("lm_a:b", "s+c d")
    assert "s+c" not in repr(found)
    assert convert.client_of({"authorization": "Bearer x"}, {}) is None


@pytest.mark.parametrize("coded", ["!!!", "\u00e9", "/w==", "bm8gY29sb24="])
def test_an_authorization_header_that_cannot_be_read_is_that_of_no_client(coded: str) -> None:
    with pytest.raises(OAuthError) as refused:
        convert.client_of({"authorization": f"Basic {coded}"}, {})

    assert refused.value.code == "invalid_client"
