"""Secrets while they are at rest: encrypted, and bound to what they belong to (AES-256-GCM)."""

import os

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
