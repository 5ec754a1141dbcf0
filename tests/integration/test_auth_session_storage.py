"""Sessions in PostgreSQL: what is kept, for how long, and what happens at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.auth.adapters.external_people import SqlExternalPeople
from services.auth.adapters.revocations import SqlRevocations, revoke
from services.auth.adapters.sessions import SqlSessions
from services.auth.adapters.users import SqlUsers
from services.auth.domain.external import ExternalPerson
from services.auth.domain.sessions import Exchange, Origin, Session, SessionRules
from services.auth.domain.users import Account, Role, User
from services.runtime.database import open_database
from tests.audit import RememberedAudit

NOON = datetime(2024, 8, 9, 12, tzinfo=UTC)
A_MINUTE = timedelta(minutes=1)
RULES = SessionRules(timedelta(days=14), timedelta(days=90), timedelta(seconds=30), timedelta(seconds=2))
MOST = 8
ANN, BOB = "6f1c1f0e-0000-4000-8000-00000000000a", "6f1c1f0e-0000-4000-8000-00000000000b"


@pytest.fixture
async def engine(database_url: Callable[[str], str]) -> AsyncIterator[AsyncEngine]:
    async with open_database(SecretStr(database_url("auth"))) as engine:
        await SqlUsers(engine).add(Account(User(ANN, "ann", frozenset({Role.TRADER}), NOON), "hash"))
        yield engine


@pytest.fixture
def sessions(engine: AsyncEngine) -> SqlSessions:
    return SqlSessions(engine, RememberedAudit(), answers_kept=RULES.retry, most=MOST)


def a_session(at: datetime = NOON) -> Session:
    return Session.begun(str(uuid4()), ANN, at, Origin("203.0.113.7", "a browser"), RULES)


def a_person(expire_time: datetime) -> ExternalPerson:
    return ExternalPerson(
        "https://id.example.com", "1", "bob", frozenset({Role.VIEWER}), str(uuid4()), NOON, expire_time
    )


async def user_of(people: SqlExternalPeople, person: ExternalPerson) -> User:
    standing = await people.standing(person, NOON)
    assert standing is not None
    return standing.user


async def count(engine: AsyncEngine, what: str) -> int:
    async with engine.connect() as connection:
        found: int = (await connection.execute(text(f"SELECT count(*) FROM auth.{what}"))).scalar_one()  # noqa: S608 - our own words
        return found


async def test_a_session_is_kept_as_it_was_begun(sessions: SqlSessions) -> None:
    session = a_session()

    assert await sessions.begin(session, b"first", NOON)

    assert await sessions.active_of_user(ANN, NOON, None, 10) == [session]
    async with sessions.present(b"first") as presented:
        assert presented is not None
        assert (presented.session, presented.token.exchange) == (session, None)
    async with sessions.present(b"another") as nothing:
        assert nothing is None


async def test_who_proved_something_before_all_sessions_were_ended_gets_none(sessions: SqlSessions) -> None:
    await sessions.begin(a_session(), b"first", NOON)

    assert await sessions.end_all_of_user(ANN, NOON + A_MINUTE) == 1

    assert not await sessions.begin(a_session(), b"second", NOON + A_MINUTE - timedelta(microseconds=1))
    assert await sessions.active_of_user(ANN, NOON + A_MINUTE, None, 10) == []
    assert await sessions.begin(a_session(), b"third", NOON + A_MINUTE)


async def test_nobody_slips_in_while_all_sessions_are_ended(sessions: SqlSessions) -> None:
    for turn in range(10):
        now = NOON + turn * A_MINUTE
        begun = [sessions.begin(a_session(now), f"{turn}/{each}".encode(), now - A_MINUTE / 2) for each in range(8)]
        await asyncio.gather(*begun[:4], sessions.end_all_of_user(ANN, now), *begun[4:])

        assert await sessions.active_of_user(ANN, now, None, 10) == []


async def test_a_user_who_was_removed_gets_no_session(engine: AsyncEngine, sessions: SqlSessions) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM auth.users"))

    assert not await sessions.begin(a_session(), b"first", NOON)


async def test_of_all_sessions_one_can_be_spared(sessions: SqlSessions, engine: AsyncEngine) -> None:
    mine, others = a_session(), [a_session() for _ in range(3)]
    for number, session in enumerate((mine, *others)):
        await sessions.begin(session, bytes([number]), NOON)

    assert await sessions.end_all_of_user(ANN, NOON, but=mine.session_id) == 3

    assert await sessions.active_of_user(ANN, NOON, None, 10) == [mine]
    listed = await SqlRevocations(engine, A_MINUTE).current()
    assert listed == {session.session_id for session in others}


async def test_a_session_beyond_the_limit_ends_the_oldest_and_nobody_elses(
    sessions: SqlSessions, engine: AsyncEngine
) -> None:
    bob = replace(a_session(NOON - A_MINUTE), user_id=BOB)
    await SqlUsers(engine).add(Account(User(BOB, "bob", frozenset({Role.TRADER}), NOON), "hash"))
    await sessions.begin(bob, b"bob", NOON)
    begun = [a_session(NOON + each * A_MINUTE) for each in range(MOST + 2)]
    for session in begun[:MOST]:
        await sessions.begin(session, session.session_id.encode(), NOON)
    ended = begun[5]
    await sessions.end(ended.session_id, ANN, NOON)

    for session in begun[MOST:]:
        await sessions.begin(session, session.session_id.encode(), NOON)

    later = NOON + 20 * A_MINUTE
    kept = [session for session in begun[1:] if session is not ended]
    assert await sessions.active_of_user(ANN, later, None, 99) == kept[::-1]
    assert await SqlRevocations(engine, A_MINUTE).current() == {begun[0].session_id, ended.session_id}
    assert await sessions.active_of_user(BOB, later, None, 99) == [bob]


async def test_of_sessions_that_begin_at_once_no_more_stay_than_one_may_have(sessions: SqlSessions) -> None:
    begun = [a_session(NOON + each * A_MINUTE) for each in range(3 * MOST)]

    await asyncio.gather(*(sessions.begin(each, each.session_id.encode(), NOON) for each in begun))

    assert len(await sessions.active_of_user(ANN, NOON + 60 * A_MINUTE, None, 99)) == MOST


async def test_a_used_token_is_forgotten_once_it_has_expired_itself(sessions: SqlSessions, engine: AsyncEngine) -> None:
    session = a_session()
    await sessions.begin(session, b"0", NOON)
    for day in range(3):
        now = NOON + timedelta(days=day)
        async with sessions.present(str(day).encode()) as presented:
            assert presented is not None
            session = session.renewed(now, RULES)
            await presented.exchange(Exchange(now, str(uuid4()), b""), str(day + 1).encode(), session)

    # The first is good until 14 days after the login, and so is the second, which the refresh at once gave.
    await sessions.forget(NOON + timedelta(days=14))
    assert await count(engine, "refresh_tokens") == 4
    await sessions.forget(NOON + timedelta(days=14, seconds=1))
    assert await count(engine, "refresh_tokens") == 2
    async with sessions.present(b"2") as presented:
        assert presented is not None
        assert presented.token.exchange is not None, "who uses it again ends the session"
    await sessions.forget(NOON + timedelta(days=15, seconds=1))
    assert await count(engine, "refresh_tokens WHERE use_time IS NULL") == 1
    assert await sessions.active_of_user(ANN, NOON + timedelta(days=15), None, 9) == [session]


async def test_what_is_of_no_use_any_more_is_forgotten(sessions: SqlSessions, engine: AsyncEngine) -> None:
    used, ended = a_session(), a_session()
    await sessions.begin(used, b"used", NOON)
    await sessions.begin(ended, b"ended", NOON)
    async with sessions.present(b"used") as presented:
        assert presented is not None
        await presented.exchange(Exchange(NOON, str(uuid4()), b"answer"), b"next", used.renewed(NOON, RULES))
    await sessions.end(ended.session_id, ANN, NOON)

    await sessions.forget(NOON + RULES.retry)
    assert await count(engine, "refresh_tokens WHERE answer IS NOT NULL") == 1
    await sessions.forget(NOON + RULES.retry + timedelta(seconds=1))
    assert await count(engine, "refresh_tokens WHERE answer IS NOT NULL") == 0
    assert await count(engine, "sessions") == 2
    await sessions.forget(NOON + timedelta(days=2))
    assert await count(engine, "sessions") == 1
    await sessions.forget(NOON + timedelta(days=16))
    assert (await count(engine, "sessions"), await count(engine, "refresh_tokens")) == (0, 0)


async def test_a_login_at_another_issuer_that_was_ended_stays_so_as_long_as_its_tokens_live(
    sessions: SqlSessions, engine: AsyncEngine
) -> None:
    people, person = SqlExternalPeople(engine, uuid4), a_person(NOON + timedelta(days=7))
    user = await user_of(people, person)
    await people.session(person, user, Origin("", ""), NOON)
    await sessions.end(person.session_id, user.user_id, NOON)

    await sessions.forget(NOON + timedelta(days=7))
    assert not (await people.session(person, user, Origin("", ""), NOON + timedelta(days=7))).is_active(NOON)
    await sessions.forget(NOON + timedelta(days=9))
    assert await count(engine, "sessions") == 0


async def test_all_sessions_are_those_at_other_issuers_too_whose_next_token_is_still_to_come(
    sessions: SqlSessions, engine: AsyncEngine
) -> None:
    people, person = SqlExternalPeople(engine, uuid4), a_person(NOON + A_MINUTE)
    user = await user_of(people, person)
    await people.session(person, user, Origin("", ""), NOON)

    assert await sessions.end_all_of_user(user.user_id, NOON + 2 * A_MINUTE) == 1

    later = NOON + 3 * A_MINUTE
    renewed = await people.session(replace(person, expire_time=NOON + 10 * A_MINUTE), user, Origin("", ""), later)
    assert not renewed.is_active(later)


async def test_what_is_revoked_is_listed_for_as_long_as_its_tokens_may_live(engine: AsyncEngine) -> None:
    revocations = SqlRevocations(engine, timedelta(minutes=5))
    async with engine.begin() as connection:
        await revoke(connection, "now", "again", "again")
        await revoke(connection, "again")
        await revoke(connection)
        old = "INSERT INTO auth.revocations VALUES ('almost', now() - interval '5 minutes 50 seconds'), "
        await connection.execute(text(old + "('old', now() - interval '6 minutes 1 second')"))

    assert await revocations.current() == {"now", "again", "almost"}
    await revocations.forget()
    assert await count(engine, "revocations") == 3


async def test_what_is_rolled_back_is_not_revoked(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await revoke(connection, "nothing")
        await connection.rollback()

    assert await SqlRevocations(engine, A_MINUTE).current() == frozenset()
