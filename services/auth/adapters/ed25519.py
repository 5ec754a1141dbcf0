"""Access tokens (RFC 9068) signed with Ed25519, and the keys that sign them."""

import base64
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.auth.adapters.sealing import SealBroken, Sealer
from services.auth.domain.signing_keys import KeySchedule, SealedKey
from services.auth.domain.tokens import AccessToken, Grant, Identity, PublicKey

ALGORITHM = "EdDSA"


class KeyNotOpened(Exception):
    """A stored signing key was encrypted with another key-encryption key."""

    def __init__(self, kid: str) -> None:
        super().__init__(
            f"signing key {kid} was encrypted with another AUTH_KEY_ENCRYPTION_KEY; set that one again, or name it in "
            "AUTH_PREVIOUS_KEY_ENCRYPTION_KEYS"
        )


class Ed25519KeyRing:
    """The signing keys of this process; each is decrypted once."""

    def __init__(self, sealer: Sealer, schedule: KeySchedule) -> None:
        self._sealer = sealer
        self._schedule = schedule
        self._sealed: Collection[SealedKey] = ()
        self._opened: dict[str, Ed25519PrivateKey] = {}

    def new(self, create_time: datetime, sign_time: datetime) -> SealedKey:
        kid = uuid.uuid4().hex
        sealed = self._sealer.seal(Ed25519PrivateKey.generate().private_bytes_raw(), of=kid)
        return SealedKey(kid, sealed, create_time, sign_time)

    def resealed(self, key: SealedKey) -> bytes | None:
        try:
            return self._sealer.resealed(key.sealed, of=key.kid)
        except SealBroken as error:
            raise KeyNotOpened(key.kid) from error

    def take(self, keys: Collection[SealedKey]) -> None:
        self._opened = {key.kid: self._opened.get(key.kid) or self._open(key) for key in keys}
        self._sealed = keys

    def signer(self, now: datetime) -> tuple[str, Ed25519PrivateKey]:
        """The id of the key that signs ``now``, and the key."""
        kid = self._schedule.signer(self._sealed, now).kid
        return kid, self._opened[kid]

    def public_keys(self, now: datetime) -> Sequence[PublicKey]:
        """The public half of every key, that of the one that signs ``now`` first."""
        first, _ = self.signer(now)
        in_order = sorted(self._opened, key=lambda kid: kid != first)
        return [PublicKey(kid, _x(self._opened[kid])) for kid in in_order]

    def _open(self, key: SealedKey) -> Ed25519PrivateKey:
        try:
            return Ed25519PrivateKey.from_private_bytes(self._sealer.unseal(key.sealed, of=key.kid))
        except SealBroken as error:
            raise KeyNotOpened(key.kid) from error


class JwtTokens:
    """Issues access tokens, and ID tokens (OpenID Connect Core 1.0), signed with the key whose time it is."""

    def __init__(self, ring: Ed25519KeyRing, *, issuer: str, audience: str, seconds: int) -> None:
        self._ring = ring
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
        return AccessToken(self._signed(claims, "at+jwt", now), seconds)

    def identify(self, identity: Identity, now: datetime) -> str:
        issued_at = int(now.timestamp())
        claims: dict[str, object] = {
            "iss": self._issuer,
            "aud": identity.client_id,
            "sub": identity.user.user_id,
            "sid": identity.session_id,
            "preferred_username": identity.user.username,
            "auth_time": int(identity.auth_time.timestamp()),
            "iat": issued_at,
            "exp": issued_at + self._seconds,
        }
        if identity.nonce:
            claims["nonce"] = identity.nonce
        return self._signed(claims, "JWT", now)

    def _signed(self, claims: dict[str, object], kind: str, now: datetime) -> str:
        kid, key = self._ring.signer(now)
        return jwt.encode(claims, key, ALGORITHM, {"kid": kid, "typ": kind})


def _x(key: Ed25519PrivateKey) -> str:
    return base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()
