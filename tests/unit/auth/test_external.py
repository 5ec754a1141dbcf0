"""What the tokens of another issuer mean here."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.auth.domain.external import ExternalPerson, Issuer
from services.auth.domain.users import Role
from services.auth.oauth_settings import ExternalIssuer

KEYCLOAK = Issuer(
    "https://id.example.com/realms/mesh",
    "levimesh",
    "realm_access.roles",
    {"traders": Role.TRADER, "viewers": Role.VIEWER},
    "preferred_username",
)
CLAIMS: dict[str, Any] = {
    "sub": "1",
    "iat": 1_900_000_000,
    "exp": 2_000_000_000,
    "preferred_username": "ann",
    "sid": "login",
}


def a_person(**changes: Any) -> ExternalPerson:
    return KEYCLOAK.person({**CLAIMS, **changes}, "the token")


@pytest.mark.parametrize(
    ("claims", "roles"),
    [
        ({"realm_access": {"roles": ["traders", "viewers", "others"]}}, {Role.TRADER, Role.VIEWER}),
        ({"realm_access": {"roles": "traders"}}, {Role.TRADER}),
        ({"realm_access": {"roles": [["traders"], {"traders": 1}, None, 1]}}, set()),
        ({"realm_access": ["traders"]}, set()),
        ({"realm_access.roles": ["traders"]}, set()),
        ({}, set()),
    ],
)
def test_only_what_the_settings_name_is_a_role(claims: dict[str, Any], roles: set[Role]) -> None:
    assert a_person(**claims).roles == roles


def test_a_login_is_one_session_and_every_person_has_their_own() -> None:
    assert a_person().session_id == a_person(exp=2_000_000_001, jti="another").session_id
    assert a_person().session_id != a_person(sid="another login").session_id
    assert a_person().session_id != a_person(sub="2").session_id
    assert a_person(sid=None, jti="a").session_id != a_person(sid=None, jti="b").session_id


@given(st.text(max_size=100))
def test_every_name_becomes_one_that_the_contract_knows(name: str) -> None:
    names = list(a_person(preferred_username=name).names())

    for each in names:
        assert 2 <= len(each) <= 64
        assert each[0] in "abcdefghijklmnopqrstuvwxyz"
        assert set(each) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "changes",
    [
        {"jwks_uri": "http://id.example.com/certs"},
        {"jwks_uri": "ftp://id.example.com/certs"},
        {"roles": {"traders": "owner"}},
        {"issuer": ""},
        {"algorithms": ["HS256"]},
    ],
)
def test_an_issuer_that_cannot_be_trusted_is_no_setting(changes: dict[str, Any]) -> None:
    sound = {"issuer": "https://id.example.com", "audience": "levimesh", "roles": {"traders": "trader"}}
    sound["jwks_uri"] = "https://id.example.com/certs"
    ExternalIssuer(**sound)

    with pytest.raises(ValidationError):
        ExternalIssuer(**{**sound, **changes})
