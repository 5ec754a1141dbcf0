"""Tokens that are given again while nothing has changed."""

from datetime import UTC, datetime, timedelta

import pytest

from services.auth.domain.tokens import AccessToken, Grant
from services.auth.domain.users import Role, User
from services.auth.use_cases.reissuing import ReissuedTokens

NOON = datetime(2024, 8, 9, 12, tzinfo=UTC)


class NumberedTokens:
    """Issues tokens that tell how many there have been."""

    def __init__(self) -> None:
        self.issued = 0

    def issue(self, grant: Grant, now: datetime) -> AccessToken:
        self.issued += 1
        return AccessToken(str(self.issued), 300)


def a_grant(session_id: str = "session", rights: int = 1) -> Grant:
    return Grant.of_login(User("ann", "ann", frozenset({Role.TRADER}), NOON, rights=rights), session_id)


@pytest.mark.parametrize(("seconds", "same"), [(0, True), (239, True), (240, False), (300, False)])
def test_a_token_is_given_again_until_a_minute_before_it_expires(seconds: int, same: bool) -> None:
    tokens = ReissuedTokens(NumberedTokens())
    first = tokens.issue(a_grant(), NOON)

    assert (tokens.issue(a_grant(), NOON + timedelta(seconds=seconds)) == first) is same


def test_whatever_changes_makes_another_token() -> None:
    tokens = ReissuedTokens(NumberedTokens())

    assert len({tokens.issue(each, NOON).text for each in (a_grant(), a_grant("another"), a_grant(rights=2))}) == 3


def test_no_more_tokens_are_remembered_than_it_is_told() -> None:
    source = NumberedTokens()
    tokens = ReissuedTokens(source, remember=10)
    for number in range(25):
        tokens.issue(a_grant(str(number)), NOON)

    assert len(tokens._issued) <= 10
    assert tokens.issue(a_grant("24"), NOON).text == "25"
