"""The settings of auth."""

import base64
import binascii
import os
from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from services.auth.oauth_settings import ExternalIssuer, SafeUrl
from services.runtime.policy import RATE_LIMIT_SCALE
from services.runtime.settings import ServiceSettings

_KEY_BYTES = 32
_WHAT_A_KEY_IS = "not 32 bytes in base64; make some with: openssl rand -base64 32"


class AuthSettings(ServiceSettings):
    """Read from the environment with the prefix ``AUTH_``."""

    model_config = SettingsConfigDict(env_prefix="AUTH_")

    key_encryption_key: SecretStr
    """32 random bytes in base64, by which signing keys and the secrets of authenticators are encrypted where they are
    stored. Without it they are lost, and every token and second factor with them."""
    previous_key_encryption_keys: SecretStr = SecretStr("")
    """Earlier ones, with commas in between. What they encrypted is opened with them, and encrypted anew at the start
    and when the file of the key changes. To change the key, first name the new one here on every replica, then exchange
    the two, then take the old one away."""
    signing_key_days: float = Field(default=30, gt=0)
    """How long a key signs access tokens before the next one does."""
    signing_key_overlap_seconds: int = Field(default=600, ge=120)
    """How long a key is published before it signs, and beyond its last token: at least twice as long as anybody keeps
    the published keys, which is a minute at the gateway."""
    session_idle_days: float = Field(default=14, gt=0)
    """A session that is not refreshed for so long ends."""
    session_days: float = Field(default=90, gt=0)
    """After so long a user has to log in again."""
    sessions_per_user: int = Field(default=100, ge=1)
    """A login beyond ends the oldest session of the user."""
    refresh_retry_seconds: float = Field(default=30, ge=0)
    """For so long a retry of a refresh gets the same answer."""
    refresh_race_seconds: float = Field(default=2, ge=0)
    """A second use of a refresh token so soon after the first is refused, and does not end the session."""
    token_lifetime_seconds: int = Field(default=300, ge=1, le=3600)
    """How long an access token is good for."""
    api_keys_per_user: int = Field(default=50, ge=1)
    """How many API keys a user may have that have not ended."""
    api_key_retention_days: float = Field(default=30, ge=0)
    """For so long after its end an API key is listed."""
    password_workers: int = Field(default_factory=lambda: max(1, (os.cpu_count() or 2) // 2), gt=0)
    """How many passwords are hashed at a time, by default half as many as there are cores; each takes one thread and
    19 MiB for about 20 ms. One login more than these is at work at once."""
    password_queue: int = Field(default=64, ge=0)
    """How many more may wait for that; further logins are refused with RESOURCE_EXHAUSTED."""
    authenticator_issuer: str = Field(default="LeviMesh", min_length=1, pattern="^[^:]*$")
    """The name of the mesh in people's authenticators."""

    audit_anchor_file: Path | None = None
    """File that the newest hash of the audit chain is appended to, where whoever administers the database cannot write.
    Without it nobody would notice if the end of the chain were cut off, or all of it were written anew."""
    audit_anchor_seconds: float = Field(default=60, gt=0)
    """How often that is done; also when the process stops."""

    oauth_clients: dict[str, tuple[SafeUrl, ...]] = Field(default_factory=dict)
    """The programs that log people in through a browser, and the addresses at which each wants them back, exactly:
    ``{"web": ["https://app.example.com/callback"]}``."""
    external_issuers: tuple[ExternalIssuer, ...] = ()
    """Other issuers whose access tokens are taken, as JSON; the gateway has to know them too."""

    rate_limit_scale: float = Field(default=1, ge=0, allow_inf_nan=False, validation_alias=RATE_LIMIT_SCALE)
    """``LEVIMESH_RATE_LIMIT_SCALE``, without a prefix because the gateway reads the same: each limit is that many times
    what the contracts say; 0 for none at all, as a load test needs it."""

    @field_validator("key_encryption_key", "previous_key_encryption_keys")
    @classmethod
    def _are_aes_256_keys(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        keys = _keys(value)
        if info.field_name == "key_encryption_key" and len(keys) != 1:
            raise ValueError(_WHAT_A_KEY_IS)
        return value

    def key_encryption_keys(self) -> list[bytes]:
        """The key of today, then the earlier ones, as they are now. Raises ValueError when a file holds no key."""
        return [*_keys(self.key_encryption_key), *_keys(self.previous_key_encryption_keys)]


def _keys(value: SecretStr) -> list[bytes]:
    texts = filter(None, map(str.strip, value.get_secret_value().split(",")))
    try:
        keys = [base64.b64decode(text, validate=True) for text in texts]
    except binascii.Error:
        raise ValueError(_WHAT_A_KEY_IS) from None
    if any(len(key) != _KEY_BYTES for key in keys):
        raise ValueError(_WHAT_A_KEY_IS)
    return keys
