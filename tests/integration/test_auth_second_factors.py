"""The contract of UserService and Login: second factors, over mTLS and on a real database."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlparse

import grpc
import pyotp
import pytest
import pytest_asyncio
from argon2 import PasswordHasher

from levimesh.auth.v1 import auth_service_pb2 as auth_pb
from levimesh.auth.v1 import user_service_pb2 as pb
from services.auth.domain.users import User
from services.auth.errors import CredentialsInvalid
from tests.mesh import bearing
from tests.people import ANN_PASSWORD, LOCKED, SESSION_OVER, WRONG, Metadata, People, refusal, running_people

REQUIRED = (grpc.StatusCode.UNAUTHENTICATED, "SECOND_FACTOR_REQUIRED")
ENROLLED = (grpc.StatusCode.FAILED_PRECONDITION, "TOTP_ENROLLED")
NOT_ENROLLED = (grpc.StatusCode.FAILED_PRECONDITION, "TOTP_NOT_ENROLLED")
CODE_INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "CODE_INVALID")


@dataclass(frozen=True)
class Ann:
    """Ann with an authenticator and recovery codes."""

    people: People
    token: Metadata
    authenticator: pyotp.TOTP
    recovery_codes: list[str]

    def code(self) -> str:
        """What the authenticator shows now."""
        return self.authenticator.at(self.people.clock())

    def next_code(self) -> str:
        """What the authenticator shows after the code that was used last."""
        self.people.clock.move(seconds=30)
        return self.code()

    def wrong_code(self) -> str:
        """Six digits that the authenticator shows at no time near."""
        near = {self.authenticator.at(self.people.clock(), counter_offset=step) for step in range(-3, 4)}
        return next(code for code in ("111111", "222222", "333333", "444444") if code not in near)

    async def login(self, code: str) -> auth_pb.LoginResponse:
        return await self.people.login(code=code)


@pytest_asyncio.fixture
async def people(database_url: Callable[[str], str], certificates: Path) -> AsyncIterator[People]:
    async with running_people(database_url("auth"), certificates) as running:
        yield running


@pytest_asyncio.fixture
async def ann(people: People) -> Ann:
    return await enrolled(people)


async def enrolled(people: People) -> Ann:
    users, token = people.running.users(), bearing((await people.login()).access_token)
    enrolment = await users.EnrollTotp(pb.EnrollTotpRequest(current_password=ANN_PASSWORD), metadata=token)
    authenticator = authenticator_of(enrolment)
    confirmed = await users.ConfirmTotp(pb.ConfirmTotpRequest(code=authenticator.at(people.clock())), metadata=token)
    return Ann(people, token, authenticator, list(confirmed.recovery_codes))


def authenticator_of(enrolment: pb.EnrollTotpResponse) -> pyotp.TOTP:
    """An authenticator that has opened the URI."""
    (secret,) = parse_qs(urlparse(enrolment.otpauth_uri).query)["secret"]
    return pyotp.TOTP(secret)


async def test_an_enrolment_is_shown_as_uri_and_pictures_and_counts_once_it_is_confirmed(people: People) -> None:
    users, token = people.running.users(), bearing((await people.login()).access_token)
    abandoned = await users.EnrollTotp(pb.EnrollTotpRequest(current_password=ANN_PASSWORD), metadata=token)
    enrolment = await users.EnrollTotp(pb.EnrollTotpRequest(current_password=ANN_PASSWORD), metadata=token)

    assert urlparse(enrolment.otpauth_uri).path == "/LeviMesh:ann"
    assert enrolment.qr_png.startswith(b"\x89PNG")
    assert "█" in enrolment.qr_text
    assert await people.login(), "without a code"
    of_the_abandoned = pb.ConfirmTotpRequest(code=authenticator_of(abandoned).at(people.clock()))
    assert await refusal(users.ConfirmTotp(of_the_abandoned, metadata=token)) == CODE_INVALID
    code = pb.ConfirmTotpRequest(code=authenticator_of(enrolment).at(people.clock()))
    assert len((await users.ConfirmTotp(code, metadata=token)).recovery_codes) == 10
    current = (await users.GetCurrentUser(pb.GetCurrentUserRequest(), metadata=token)).user
    assert current.totp_enrolled
    assert await refusal(users.ConfirmTotp(code, metadata=token)) == ENROLLED
    assert (
        await refusal(users.EnrollTotp(pb.EnrollTotpRequest(current_password=ANN_PASSWORD), metadata=token)) == ENROLLED
    )


async def test_whoever_has_only_a_token_cannot_begin_an_enrolment_and_guesses_lock(people: People) -> None:
    users, token = people.running.users(), bearing((await people.login()).access_token)
    guess = pb.EnrollTotpRequest(current_password="a guess at it")

    answers = [await refusal(users.EnrollTotp(guess, metadata=token)) for _ in range(6)]

    assert answers == [WRONG] * 5 + [LOCKED]
    assert await refusal(people.login()) == LOCKED, "guesses count here and there together"


async def test_the_password_alone_does_not_end_the_lock_out_of_whoever_guesses_codes(ann: Ann) -> None:
    right = pb.EnrollTotpRequest(current_password=ANN_PASSWORD)
    users = ann.people.running.users()

    for _ in range(5):
        assert await refusal(ann.login("000000")) == WRONG
        assert await refusal(users.EnrollTotp(right, metadata=ann.token)) == ENROLLED

    assert await refusal(ann.login("000000")) == LOCKED


async def test_an_enrolment_that_was_not_begun_cannot_be_confirmed(people: People) -> None:
    token = bearing((await people.login()).access_token)

    call = people.running.users().ConfirmTotp(pb.ConfirmTotpRequest(code="123456"), metadata=token)

    assert await refusal(call) == NOT_ENROLLED


async def test_whoever_has_a_second_factor_needs_it_to_log_in(ann: Ann) -> None:
    assert await refusal(ann.login("")) == REQUIRED
    assert await refusal(ann.login(ann.code())) == WRONG, "it was used to confirm"
    session = await ann.login(ann.next_code())
    assert session.user.totp_enrolled
    assert await refusal(ann.login(ann.code())) == WRONG, "a code is used once"
    assert await ann.login(ann.next_code())


async def test_that_a_code_is_needed_is_told_to_nobody_who_lacks_the_password(ann: Ann) -> None:
    assert await refusal(ann.people.login(password="wrong")) == WRONG
    assert await refusal(ann.people.login(password="wrong", code=ann.next_code())) == WRONG
    assert await ann.login(ann.code()), "and a login with a wrong password has not used it up"


@pytest.mark.parametrize("kind", ["code", "recovery code"])
async def test_of_a_hundred_who_log_in_with_one_code_at_once_one_succeeds(ann: Ann, kind: str) -> None:
    code = ann.recovery_codes[0] if kind == "recovery code" else ann.next_code()
    # Not by calls, which have a deadline: on a slow machine it would end some of so many.
    authenticate = ann.people.running.auth.sessions.authenticate

    outcomes = await asyncio.gather(
        *(authenticate("ann", ANN_PASSWORD, code) for _ in range(100)), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes].count(User) == 1
    assert [type(outcome) for outcome in outcomes].count(CredentialsInvalid) == 99


async def test_of_ten_logins_with_one_code_at_once_one_succeeds(ann: Ann) -> None:
    code = ann.next_code()

    outcomes = await asyncio.gather(*(ann.login(code) for _ in range(10)), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes].count(auth_pb.LoginResponse) == 1
    refused = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert [error.code() for error in refused] == [grpc.StatusCode.UNAUTHENTICATED] * 9


async def test_each_recovery_code_replaces_the_authenticator_once(ann: Ann) -> None:
    first, second = ann.recovery_codes[:2]

    assert await ann.login(first.lower().replace("-", ""))
    assert await refusal(ann.login(first)) == WRONG
    assert await ann.login(second)


async def test_wrong_codes_lock_the_login_like_wrong_passwords(ann: Ann) -> None:
    wrong = ann.wrong_code()

    outcomes = [await refusal(ann.login(wrong)) for _ in range(6)]

    assert outcomes == [WRONG] * 5 + [LOCKED]
    assert await refusal(ann.login(ann.recovery_codes[0])) == LOCKED
    assert await refusal(ann.login("")) == LOCKED
    ann.people.clock.move(seconds=1)
    assert await ann.login(ann.recovery_codes[0])


async def test_passwords_and_codes_that_are_wrong_count_together(ann: Ann) -> None:
    for _ in range(3):
        assert await refusal(ann.people.login(password="wrong")) == WRONG
        assert await refusal(ann.login("")) == REQUIRED, "which forgets nothing"
    for _ in range(2):
        assert await refusal(ann.login(ann.wrong_code())) == WRONG

    assert await refusal(ann.login(ann.recovery_codes[0])) == LOCKED


class HoldingHasher(PasswordHasher):
    """Holds up whoever has the right password until told otherwise."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.go_on = threading.Event()
        self.go_on.set()
        self.held = threading.Event()

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - the name in the base class
        if password == ANN_PASSWORD:
            self.held.set()
            assert self.go_on.wait(30)
        return super().verify(hash, password)


@pytest.mark.parametrize("has_second_factor", [False, True])
async def test_of_guesses_at_once_the_right_one_is_not_told_from_the_others_once_the_name_is_locked(
    database_url: Callable[[str], str], certificates: Path, has_second_factor: bool
) -> None:
    hasher = HoldingHasher()
    async with running_people(database_url("auth"), certificates, hasher) as people:
        if has_second_factor:
            await enrolled(people)
        hasher.held.clear()
        hasher.go_on.clear()
        right = asyncio.create_task(people.login())
        assert await asyncio.to_thread(hasher.held.wait, 30)
        for _ in range(5):
            assert await refusal(people.login(password="wrong")) == WRONG

        hasher.go_on.set()

        assert await refusal(right) == LOCKED


@pytest.mark.parametrize("proof", ["code", "recovery code"])
async def test_a_second_factor_is_removed_by_whoever_has_it(ann: Ann, proof: str) -> None:
    users = ann.people.running.users()
    good = ann.recovery_codes[0] if proof == "recovery code" else ann.next_code()
    remove = pb.RemoveTotpRequest(second_factor=good)

    assert await refusal(users.RemoveTotp(pb.RemoveTotpRequest(second_factor="ABCD-EFGH"), metadata=ann.token)) == (
        CODE_INVALID
    )
    await users.RemoveTotp(remove, metadata=ann.token)

    assert await refusal(users.RemoveTotp(remove, metadata=ann.token)) == NOT_ENROLLED
    assert not (await ann.people.login()).user.totp_enrolled
    again = await enrolled(ann.people)
    assert await refusal(again.login(ann.recovery_codes[1])) == WRONG, "the old codes are gone"


async def test_whoever_has_a_token_cannot_guess_the_code_that_removes_the_second_factor(ann: Ann) -> None:
    users, wrong = ann.people.running.users(), pb.RemoveTotpRequest(second_factor=ann.wrong_code())

    outcomes = [await refusal(users.RemoveTotp(wrong, metadata=ann.token)) for _ in range(6)]

    assert outcomes == [CODE_INVALID] * 5 + [LOCKED]


async def test_an_admin_takes_a_lost_second_factor_away_and_the_sessions_with_it(ann: Ann) -> None:
    session = await ann.login(ann.next_code())
    reset = pb.ResetTotpRequest(user_id=ann.people.ann.user_id)

    user, again = [
        (await ann.people.running.users().ResetTotp(reset, metadata=ann.people.admin)).user for _ in range(2)
    ]

    assert user == again == ann.people.ann
    assert await refusal(ann.people.refresh(session)) == SESSION_OVER
    assert session.session_id in (await ann.people.revoked()).session_ids
    assert await ann.people.login(password=ANN_PASSWORD)
