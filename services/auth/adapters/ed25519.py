"""Access tokens (RFC 9068) signed with Ed25519, and the signing key while it is at rest."""

import base64
import uuid
from datetime import datetime

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from levimesh.auth.v1 import user_pb2
from services.auth.adapters.sealing import SealBroken, seal, unseal
from services.auth.domain.tokens import AccessToken, Grant, SealedKey

ALGORITHM = "EdDSA"


class KeyNotOpened(Exception):
    """A stored signing key was encrypted with another key-encryption key."""


class SigningKey:
    """A private key with the id by which its public half is found."""

    def __init__(self, kid: str, private_key: Ed25519PrivateKey) -> None:
        self.kid = kid
        self.private_key = private_key

    @classmethod
    def generate(cls) -> "SigningKey":
        """A new key."""
        return cls(uuid.uuid4().hex, Ed25519PrivateKey.generate())

    @classmethod
    def open(cls, key: SealedKey, key_encryption_key: bytes) -> "SigningKey":
        """Decrypt ``key``. Raises KeyNotOpened."""
        try:
            raw = unseal(key.sealed, key_encryption_key, of=key.kid)
        except SealBroken as error:
            raise KeyNotOpened(
                f"signing key {key.kid} was encrypted with another AUTH_KEY_ENCRYPTION_KEY; set that one again"
            ) from error
        return cls(key.kid, Ed25519PrivateKey.from_private_bytes(raw))

    def seal(self, key_encryption_key: bytes, now: datetime) -> SealedKey:
        """Encrypt for storing, bound to its id."""
        sealed = seal(self.private_key.private_bytes_raw(), key_encryption_key, of=self.kid)
        return SealedKey(self.kid, sealed, now, now)

    def public_jwk(self) -> user_pb2.JsonWebKey:
        """The public half, as RFC 8037 writes it."""
        x = base64.urlsafe_b64encode(self.private_key.public_key().public_bytes_raw()).rstrip(b"=").decode()
        return user_pb2.JsonWebKey(kty="OKP", crv="Ed25519", x=x, kid=self.kid, alg=ALGORITHM, use="sig")


class JwtTokens:
    """Issues access tokens signed with one key."""

    def __init__(self, key: SigningKey, *, issuer: str, audience: str, seconds: int) -> None:
        self._key = key
        self._issuer = issuer
        self._audience = audience
        self._seconds = seconds

    def issue(self, grant: Grant, now: datetime) -> AccessToken:
        issued_at = int(now.timestamp())
        seconds = self._seconds
        if grant.expire_time is not None:
            seconds = max(0, min(seconds, int(grant.expire_time.timestamp()) - issued_at))
        claims: dict[str, object] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": grant.user.user_id,
            "username": grant.user.username,
            "roles": sorted(grant.user.roles),
            "rights": grant.user.rights,
            "sid": grant.session_id,
            "tier": grant.tier,
            "iat": issued_at,
            "nbf": issued_at,
            "exp": issued_at + seconds,
            "jti": uuid.uuid4().hex,
        }
        if grant.scopes is not None:
            claims["scope"] = " ".join(sorted(grant.scopes))
        headers = {"kid": self._key.kid, "typ": "at+jwt"}
        return AccessToken(jwt.encode(claims, self._key.private_key, ALGORITHM, headers), seconds)
