"""Secrets while they are at rest: encrypted, and bound to what they belong to (AES-256-GCM)."""

import os
from collections.abc import Sequence
from contextlib import suppress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class SealBroken(Exception):
    """What is stored was encrypted with another key, belongs to something else, or was altered."""


def seal(secret: bytes, key: bytes, *, of: str) -> bytes:
    """``secret``, which belongs to ``of``, encrypted with ``key``: a random nonce, then the ciphertext with its tag."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, secret, of.encode())


def unseal(sealed: bytes, key: bytes, *, of: str) -> bytes:
    """The secret that was sealed with the same ``key`` and ``of``. Raises SealBroken."""
    nonce, content = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        return AESGCM(key).decrypt(nonce, content, of.encode())
    except InvalidTag as error:
        raise SealBroken(f"the stored secret of {of} was encrypted with another key, or altered") from error


class Sealer:
    """Seals with the key-encryption key of the settings, and opens what was sealed with one before it, too."""

    def __init__(self, current: bytes, previous: Sequence[bytes] = ()) -> None:
        self._current = current
        self._previous = tuple(previous)

    def seal(self, secret: bytes, *, of: str) -> bytes:
        """``secret``, which belongs to ``of``, encrypted."""
        return seal(secret, self._current, of=of)

    def unseal(self, sealed: bytes, *, of: str) -> bytes:
        """The secret that was sealed for ``of``. Raises SealBroken."""
        for key in self._previous:
            with suppress(SealBroken):
                return unseal(sealed, key, of=of)
        return unseal(sealed, self._current, of=of)

    def resealed(self, sealed: bytes, *, of: str) -> bytes | None:
        """The same secret under the current key; None when that is what sealed it. Raises SealBroken."""
        with suppress(SealBroken):
            unseal(sealed, self._current, of=of)
            return None
        return self.seal(self.unseal(sealed, of=of), of=of)
