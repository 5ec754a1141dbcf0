"""Passwords by Argon2id, in a few threads of their own."""

import asyncio
import os
import secrets
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.runtime.errors import Overloaded

T = TypeVar("T")


def owasp_hasher() -> PasswordHasher:
    """Argon2id with 19 MiB, two passes and one lane, as the OWASP Password Storage Cheat Sheet has it."""
    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


_NICEST = 19


class Argon2Passwords:
    """Hashes and checks passwords without holding up anything else, and never more at once than is allowed."""

    def __init__(self, hasher: PasswordHasher, *, workers: int, queue: int) -> None:
        self._hasher = hasher
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="passwords", initializer=_give_way)
        self._places = threading.BoundedSemaphore(workers + queue)
        self._hash_of_nobody = hasher.hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        return await self._in_thread(lambda: self._hasher.hash(password))

    async def matches(self, password: str, known_hash: str | None) -> bool:
        matches = await self._in_thread(lambda: self._matches(password, known_hash or self._hash_of_nobody))
        return matches and known_hash is not None

    def outdated(self, known_hash: str) -> bool:
        return self._hasher.check_needs_rehash(known_hash)

    def close(self) -> None:
        """Give the threads back."""
        self._threads.shutdown(cancel_futures=True)

    def _matches(self, password: str, known_hash: str) -> bool:
        try:
            return self._hasher.verify(known_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if not self._places.acquire(blocking=False):
            raise Overloaded("too many logins at once; try again in a second")
        future = self._threads.submit(work)
        # Not when the caller gives up, but when the thread is free again.
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)


def _give_way() -> None:
    """Let everything else on the machine run first: on Linux a thread has a niceness of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICEST)
