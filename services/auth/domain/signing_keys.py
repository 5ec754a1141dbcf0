"""The keys that sign access tokens: when each is published, signs, and is forgotten."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise


@dataclass(frozen=True)
class SealedKey:
    """A private signing key as it is stored: encrypted."""

    kid: str
    sealed: bytes
    create_time: datetime
    """Since when its public half is published."""
    sign_time: datetime
    """Since when it signs, until another one does."""


@dataclass(frozen=True)
class KeySchedule:
    """When keys follow one another.

    Everybody who checks tokens keeps the published keys for a while, so a key is published for ``overlap`` before it
    signs; and for as long after another one has taken over as a token of it can be good.
    """

    life: timedelta
    """A key signs for so long."""
    overlap: timedelta
    """A key is published for so long before it signs, and that much longer than its tokens live."""
    token_life: timedelta

    def signer(self, keys: Collection[SealedKey], now: datetime) -> SealedKey:
        """The key that signs ``now``: the one whose time has begun last.

        A clock that was set back may be before the time of them all; then it is the first, which everybody knows best.
        """
        begun = [key for key in keys if key.sign_time <= now]
        return max(begun, key=_begins) if begun else min(keys, key=_begins)

    def next_sign_time(self, keys: Collection[SealedKey], now: datetime) -> datetime | None:
        """When a new key would have to sign, if it is time to publish it; None while it is not."""
        if not keys:
            return now
        ends = max(map(_begins, keys))[0] + self.life
        return max(ends, now + self.overlap) if ends - self.overlap <= now else None

    def over(self, keys: Collection[SealedKey], now: datetime) -> Collection[SealedKey]:
        """The keys of which no token can be good any more."""
        in_order = sorted(keys, key=_begins)
        last_tokens = self.token_life + self.overlap
        return [key for key, successor in pairwise(in_order) if successor.sign_time + last_tokens < now]


def _begins(key: SealedKey) -> tuple[datetime, str]:
    return key.sign_time, key.kid
