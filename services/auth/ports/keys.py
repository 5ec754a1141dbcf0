"""Signing keys."""

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from services.auth.domain.signing_keys import SealedKey


class SigningKeys(Protocol):
    """Where signing keys are kept, encrypted."""

    async def all(self) -> Collection[SealedKey]:
        """Every key."""

    def change(self) -> "AbstractAsyncContextManager[ChangedKeys]":
        """The keys, in a transaction that no other replica changes them in."""


class ChangedKeys(Protocol):
    """The keys while they are being changed."""

    async def all(self) -> Collection[SealedKey]:
        """Every key."""

    async def add(self, key: SealedKey) -> None:
        """Keep a new key."""

    async def reseal(self, kid: str, sealed: bytes) -> None:
        """Keep the same key encrypted in another way."""

    async def remove(self, kid: str) -> None:
        """Forget a key; its tokens stop working."""


class KeyRing(Protocol):
    """The keys of this process, ready to sign."""

    def new(self, create_time: datetime, sign_time: datetime) -> SealedKey:
        """A key that nobody has seen."""

    def resealed(self, key: SealedKey) -> bytes | None:
        """``key`` encrypted with the key-encryption key of today; None when it is. Raises KeyNotOpened."""

    def take(self, keys: Collection[SealedKey]) -> None:
        """Sign with these from now on, each in its time, and publish them. Raises KeyNotOpened."""
