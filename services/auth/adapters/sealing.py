"""Secrets while they are at rest: encrypted, and bound to what they belong to (AES-256-GCM)."""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_log = logging.getLogger(__name__)

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
    """Seals with the key-encryption key of the settings, and opens what was sealed with one before it, too.

    ``keys`` tells which they are now, that of today first. They may change while the process runs; those that were
    told before stay good for opening, and while ``keys`` tells nonsense (ValueError), so does the one of today.
    """

    def __init__(self, keys: Callable[[], Sequence[bytes]]) -> None:
        self._told = keys
        self._known = list(keys())

    @classmethod
    def with_keys(cls, *keys: bytes) -> Self:
        """A sealer whose keys do not change."""
        return cls(lambda: keys)

    @property
    def current(self) -> bytes:
        """The key of today."""
        return self._keys()[0]

    def seal(self, secret: bytes, *, of: str) -> bytes:
        """``secret``, which belongs to ``of``, encrypted."""
        return seal(secret, self.current, of=of)

    def unseal(self, sealed: bytes, *, of: str) -> bytes:
        """The secret that was sealed for ``of``. Raises SealBroken."""
        current, *others = self._keys()
        for key in others:
            with suppress(SealBroken):
                return unseal(sealed, key, of=of)
        return unseal(sealed, current, of=of)

    def resealed(self, sealed: bytes, *, of: str) -> bytes | None:
        """The same secret under the key of today; None when that is what sealed it. Raises SealBroken."""
        with suppress(SealBroken):
            unseal(sealed, self.current, of=of)
            return None
        return self.seal(self.unseal(sealed, of=of), of=of)

    def _keys(self) -> Sequence[bytes]:
        try:
            told = self._told()
        except ValueError as error:
            _log.warning("the key-encryption key cannot be used; the last one stays", extra={"error": str(error)})
        else:
            self._known = [*told, *(key for key in self._known if key not in told)]
        return self._known
