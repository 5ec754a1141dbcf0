"""What presenting a refresh token amounts to, and how long sessions last."""

from datetime import UTC, datetime, timedelta

import pytest

from services.auth.adapters.refresh_tokens import RandomRefreshTokens
from services.auth.adapters.sealing import SealBroken
from services.auth.domain.sessions import Exchange, Origin, RefreshToken, Session, SessionRules, Use
from services.auth.domain.tokens import AccessToken, SessionTokens

NOON = datetime(2024, 8, 9, 12, tzinfo=UTC)
RULES = SessionRules(
    idle=timedelta(days=14), longest=timedelta(days=90), retry=timedelta(seconds=30), race=timedelta(seconds=2)
)
LATER = NOON + timedelta(days=14)
USED = RefreshToken(b"", LATER, Exchange(NOON, "first", b"answer"))
WITHOUT_ANSWER = RefreshToken(b"", LATER, Exchange(NOON, "first", None))
AN_ANSWER = SessionTokens("a session", AccessToken("header.claims.signature", 300), "lmr_next", NOON)


@pytest.mark.parametrize(
    ("token", "request_id", "after", "use"),
    [
        pytest.param(RefreshToken(b"", LATER), "first", 0, Use.FIRST, id="never used"),
        pytest.param(USED, "first", 0, Use.RETRY, id="at once"),
        pytest.param(USED, "first", 30, Use.RETRY, id="at the last moment"),
        pytest.param(USED, "first", 30.001, Use.REUSE, id="too late for a retry"),
        pytest.param(WITHOUT_ANSWER, "first", 1, Use.RACE, id="answer gone, at once"),
        pytest.param(WITHOUT_ANSWER, "first", 20, Use.REUSE, id="answer gone"),
        pytest.param(USED, "second", 0, Use.RACE, id="another request at once"),
        pytest.param(USED, "second", 2, Use.RACE, id="another request two seconds later"),
        pytest.param(USED, "second", 2.001, Use.REUSE, id="another request after that"),
        pytest.param(USED, "second", 86_400, Use.REUSE, id="another request a day later"),
        pytest.param(USED, "second", -1, Use.RACE, id="another replica, whose clock is behind"),
    ],
)
def test_a_use_is_judged_by_its_request_and_its_time(
    token: RefreshToken, request_id: str, after: float, use: Use
) -> None:
    assert token.use(request_id, NOON + timedelta(seconds=after), RULES) is use


def test_a_session_is_active_until_it_ends_or_expires() -> None:
    session = Session.begun("id", "user", NOON, Origin("", ""), RULES)

    assert session.is_active(NOON + timedelta(days=13, hours=23))
    assert not session.is_active(NOON + timedelta(days=14))
    renewed = session.renewed(NOON + timedelta(days=10), RULES)
    assert renewed.is_active(NOON + timedelta(days=23))
    assert renewed.renewed(NOON + timedelta(days=80), RULES).expire_time == NOON + timedelta(days=90)


def test_every_refresh_token_is_another_and_is_found_by_its_hash_only() -> None:
    tokens = RandomRefreshTokens()

    made = {tokens.new() for _ in range(100)}

    assert len(made) == 100
    assert all(len(token) == len("lmr_") + 43 for token in made)
    assert all(token.encode() not in tokens.fingerprint(token) for token in made)


def test_only_who_has_the_token_reads_what_it_was_exchanged_for() -> None:
    tokens = RandomRefreshTokens()
    token = tokens.new()

    sealed = tokens.seal(token, AN_ANSWER)

    assert tokens.open(token, sealed, "a session") == AN_ANSWER
    for secret in (token, AN_ANSWER.refresh_token, AN_ANSWER.access_token.text):
        assert secret.encode() not in sealed
    with pytest.raises(SealBroken):
        tokens.open(tokens.new(), sealed, "a session")
    with pytest.raises(SealBroken):
        tokens.open(token, sealed, "another session")
