"""The settings of auth."""

import base64
import binascii

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from services.runtime.settings import ServiceSettings


class AuthSettings(ServiceSettings):
    """Read from the environment with the prefix ``AUTH_``."""

    model_config = SettingsConfigDict(env_prefix="AUTH_")

    key_encryption_key: SecretStr
    """32 random bytes in base64, by which signing keys and the secrets of authenticators are encrypted where they are
    stored. Without it they are lost, and every token and second factor with them."""
    token_lifetime_seconds: int = Field(default=300, ge=1, le=3600)
    """How long an access token is good for."""
    password_workers: int = Field(default=2, gt=0)
    """How many passwords are hashed at a time; each takes one thread and 19 MiB for about 20 ms."""
    password_queue: int = Field(default=64, ge=0)
    """How many more may wait for that; further logins are refused with RESOURCE_EXHAUSTED."""
    authenticator_issuer: str = Field(default="LeviMesh", min_length=1, pattern="^[^:]*$")
    """The name of the mesh in people's authenticators."""

    @field_validator("key_encryption_key")
    @classmethod
    def _is_an_aes_256_key(cls, value: SecretStr) -> SecretStr:
        try:
            size = len(base64.b64decode(value.get_secret_value(), validate=True))
        except binascii.Error:
            size = 0
        if size != 32:
            raise ValueError("not 32 bytes in base64; make some with: openssl rand -base64 32")
        return value

    @property
    def key_encryption_bytes(self) -> bytes:
        """The 32 bytes themselves."""
        return base64.b64decode(self.key_encryption_key.get_secret_value())
