"""Signing keys."""

from typing import Protocol

from services.auth.domain.tokens import SealedKey


class SigningKeys(Protocol):
    """Where signing keys are kept, encrypted."""

    async def first(self, candidate: SealedKey) -> SealedKey:
        """The key that signs: the one that is kept, else ``candidate``, which is kept from now on.

        Replicas that start at once get the same key.
        """
