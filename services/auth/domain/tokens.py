"""Access tokens and the keys that sign them."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class AccessToken:
    """A signed token and how many seconds it is good for."""

    text: str
    seconds: int


@dataclass(frozen=True)
class SealedKey:
    """A private signing key as it is stored: encrypted."""

    kid: str
    sealed: bytes
    create_time: datetime
