"""Hashing passwords: strong enough, the same work for everybody, and never too much at once."""

import asyncio
import os
import sys
import threading
from typing import Literal

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type

from services.auth.adapters.argon2 import Argon2Passwords, owasp_hasher
from services.runtime.errors import Overloaded
from tests.auth import quick_hasher


class RecordingHasher(PasswordHasher):
    """Remembers what it verified, and waits for leave to do so."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified: list[str | bytes] = []
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.leave.set()

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - the name in the base class
        self.entered.set()
        self.leave.wait(10)
        self.verified.append(hash)
        return super().verify(hash, password)


async def test_a_hash_matches_its_password_only() -> None:
    passwords = Argon2Passwords(quick_hasher(), workers=1, queue=8)

    known = await passwords.hash("correct horse")

    assert await passwords.matches("correct horse", known)
    assert not await passwords.matches("correct cow", known)
    assert known != await passwords.hash("correct horse"), "every hash has a salt of its own"
    passwords.close()


async def test_an_unreadable_hash_matches_nothing() -> None:
    passwords = Argon2Passwords(quick_hasher(), workers=1, queue=8)

    assert not await passwords.matches("anything", "not a hash")
    passwords.close()


async def test_a_user_who_does_not_exist_costs_a_verification_too() -> None:
    hasher = RecordingHasher()
    passwords = Argon2Passwords(hasher, workers=1, queue=8)

    assert not await passwords.matches("anything", None)

    (dummy,) = hasher.verified
    assert extract_parameters(str(dummy)) == extract_parameters(hasher.hash("anything"))
    passwords.close()


def test_the_parameters_are_those_of_owasp() -> None:
    parameters = extract_parameters(owasp_hasher().hash("anything"))

    assert parameters.type is Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19 * 1024, 2, 1)


async def test_more_passwords_than_fit_are_refused_and_the_loop_stays_free() -> None:
    hasher = RecordingHasher()
    passwords = Argon2Passwords(hasher, workers=1, queue=2)
    known = await passwords.hash("correct horse")
    hasher.leave.clear()
    waiting = [asyncio.create_task(passwords.matches("correct horse", known)) for _ in range(3)]
    await asyncio.sleep(0)

    with pytest.raises(Overloaded):
        await passwords.matches("correct horse", known)

    hasher.leave.set()
    assert await asyncio.gather(*waiting) == [True, True, True]
    assert await passwords.matches("correct horse", known), "the places are free again"
    passwords.close()


async def test_a_caller_who_gives_up_does_not_free_a_thread_that_still_works() -> None:
    hasher = RecordingHasher()
    passwords = Argon2Passwords(hasher, workers=1, queue=0)
    known = await passwords.hash("correct horse")
    hasher.leave.clear()
    impatient = asyncio.create_task(passwords.matches("correct horse", known))
    assert await asyncio.to_thread(hasher.entered.wait, 10)

    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)

    with pytest.raises(Overloaded):
        await passwords.matches("correct horse", known)
    hasher.leave.set()
    passwords.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread has a niceness of its own")
async def test_hashing_gives_way_to_everything_else() -> None:
    niceness: list[int] = []

    class Nosy(PasswordHasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            niceness.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return super().hash(password, salt=salt)

    ours = os.getpriority(os.PRIO_PROCESS, 0)
    passwords = Argon2Passwords(Nosy(time_cost=1, memory_cost=8, parallelism=1), workers=1, queue=8)
    await passwords.hash("correct horse")

    assert niceness[-1] > ours
    assert os.getpriority(os.PRIO_PROCESS, 0) == ours
