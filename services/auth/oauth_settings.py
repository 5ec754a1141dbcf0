"""Settings of clients that log people in through a browser, and of other issuers of tokens."""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"[A-Za-z0-9.-]+|[0-9a-f:]+")
_VISIBLE = re.compile(r"[!-~]+")


def _safe_url(text: str) -> str:
    """``https``, or on this machine also ``http``; raises ValueError for others."""
    parts = urlsplit(text)
    host = parts.hostname or ""
    safe = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    if not (safe and _HOST.fullmatch(host) and _VISIBLE.fullmatch(text)) or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{text} is not an https:// URL (or http:// on this machine) without a fragment")
    return text


SafeUrl = Annotated[str, AfterValidator(_safe_url)]


class ExternalIssuer(BaseModel):
    """Another issuer (OpenID Connect: Keycloak and the like) whose access tokens are taken."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    issuer: str = Field(min_length=1)
    """What its tokens say in ``iss``."""
    audience: str = Field(min_length=1)
    """What they must say in ``aud``."""
    jwks_uri: SafeUrl
    """Where its keys are."""
    ca_file: Path | None = None
    """PEM file of the authorities that sign the certificate there; without it those of this machine."""
    roles_claim: str = Field(default="realm_access.roles", min_length=1)
    """Where the roles stand in its tokens, with a dot for each level."""
    roles: dict[str, Literal["viewer", "trader", "admin"]]
    """Which role of the mesh each of them is, for example ``{"mesh-traders": "trader"}``; the others are none."""
    username_claim: str = Field(default="preferred_username", min_length=1)
    """What a person's user name is made from."""
