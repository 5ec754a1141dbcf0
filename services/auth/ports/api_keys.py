"""API keys, and when they were used."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from services.auth.domain.api_keys import ApiKey, StoredKey


class OpenKeys(Protocol):
    """Where the key of a secret is found."""

    async def find(self, prefix: str) -> StoredKey | None:
        """The key whose secrets begin with ``prefix``, its owner too, as both are, or were at most a second ago."""


class ApiKeys(Protocol):
    """Where keys are kept."""

    async def add(self, key: ApiKey, secret_hash: bytes, most: int) -> bool:
        """Keep a new key, unless its user has ``most`` that have not ended; says whether it was kept.

        Of several at once no more are.
        """

    async def forget(self, ended_before: datetime) -> None:
        """Remove keys that ended before then."""

    async def of_user(self, user_id: str, after: tuple[datetime, str] | None, limit: int) -> Sequence[ApiKey]:
        """At most ``limit`` keys of a user by time and id, the newest first, those after ``after``."""

    async def prefix(self, key_id: str, user_id: str, now: datetime) -> str | None:
        """The prefix of a user's key that is active; None when there is no such key."""

    async def rotate(
        self, key_id: str, user_id: str, secret_hash: bytes, previous_expire_time: datetime, now: datetime
    ) -> ApiKey | None:
        """Give a user's active key another secret; the one so far is good until ``previous_expire_time``.

        None when there is no such key.
        """

    async def revoke(self, key_id: str, user_id: str | None, now: datetime) -> bool:
        """End a key, of ``user_id`` if that is given; its tokens are listed as revoked. False: there is no such key.

        A key that has ended stays as it was.
        """


class KeyUses(Protocol):
    """When keys were used: noted at once, written later."""

    def note(self, key_id: str, now: datetime) -> None:
        """The key is used ``now``."""


class KeyAlarms(Protocol):
    """Tells those who watch that something is wrong with a key."""

    async def elsewhere(self, key: ApiKey, address: str, now: datetime) -> None:
        """The secret of ``key`` is right, and is used ``now`` from an address that it may not be used from."""
