"""Refresh tokens: random, found by their hash, and the key to the answer that they were exchanged for."""

import hashlib
import json
import secrets
from datetime import datetime

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.auth.adapters.sealing import seal, unseal
from services.auth.domain.tokens import AccessToken, SessionTokens

_PREFIX = "lmr_"
"""By which those who look for lost secrets know what they have found."""
_BYTES = 32
_PURPOSE = b"levimesh answer to a refresh"


class RandomRefreshTokens:
    """Tokens of 256 random bits; that is too many to guess, so their SHA-256 needs neither salt nor patience."""

    def new(self) -> str:
        return _PREFIX + secrets.token_urlsafe(_BYTES)

    def fingerprint(self, token: str) -> bytes:
        return hashlib.sha256(token.encode()).digest()

    def seal(self, token: str, answer: SessionTokens) -> bytes:
        said = {
            "session_id": answer.session_id,
            "access_token": answer.access_token.text,
            "seconds": answer.access_token.seconds,
            "refresh_token": answer.refresh_token,
            "refresh_expire_time": answer.refresh_expire_time.isoformat(),
        }
        return seal(json.dumps(said).encode(), _key(token), of=answer.session_id)

    def open(self, token: str, sealed: bytes, session_id: str) -> SessionTokens:
        said = json.loads(unseal(sealed, _key(token), of=session_id))
        return SessionTokens(
            session_id=said["session_id"],
            access_token=AccessToken(said["access_token"], said["seconds"]),
            refresh_token=said["refresh_token"],
            refresh_expire_time=datetime.fromisoformat(said["refresh_expire_time"]),
        )


def _key(token: str) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=_PURPOSE).derive(token.encode())
