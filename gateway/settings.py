"""The settings of the gateway."""

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.contracts import ASKED, SERVICES
from services.runtime.policy import RATE_LIMIT_SCALE


def _host_and_port(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise ValueError(f"{text} is not host:port, such as 127.0.0.1:15051")
    return text


Endpoint = Annotated[str, AfterValidator(_host_and_port)]

LONGEST_SOCKET_FOLDER = 90
"""Bytes of a folder's path below which a socket fits: the kernel takes 107 for the whole path."""


class ExternalIssuer(BaseModel):
    """Another issuer (OpenID Connect: Keycloak and the like) whose tokens are taken."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    issuer: str = Field(min_length=1)
    """What its tokens say in ``iss``, for example ``https://sso.example.com/realms/main``."""
    audience: str = Field(min_length=1)
    """What they must say in ``aud``."""
    jwks_uri: str
    """Where its keys are, ``http://…`` or ``https://…``."""
    ca_file: Path | None = None
    """PEM file of the authorities that sign the certificate there, needed for ``https://…``; those that a machine knows
    are usually in ``/etc/ssl/certs/ca-certificates.crt``."""

    @field_validator("jwks_uri")
    @classmethod
    def _is_of_the_web(cls, uri: str) -> str:
        if urlsplit(uri).scheme not in ("http", "https") or not urlsplit(uri).hostname:
            raise ValueError(f"{uri} is not http://… or https://…")
        return uri

    @model_validator(mode="after")
    def _can_be_checked(self) -> "ExternalIssuer":
        if self.jwks_uri.startswith("https://") and self.ca_file is None:
            raise ValueError(f"ca_file: needed to check who answers at {self.jwks_uri}")
        return self


class GatewaySettings(BaseSettings):
    """Read from the environment with the prefix ``GATEWAY_``; mappings and tuples as JSON."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address of the TLS listener."""
    tls_port: int = Field(default=8443, ge=1, le=65535)
    """Port of the TLS listener."""
    plain_port: int = Field(default=0, ge=0, le=65535)
    """Port of a listener without TLS, always on 127.0.0.1; 0 for none."""
    socket_folder: Path
    """Folder of Envoy's unix sockets, which only the owner of the process may use: ``admin.sock``, ``jwks.sock``."""

    edge_certificate: Path
    """PEM file of the certificate that clients see. All files may be replaced (by rename) while Envoy runs."""
    edge_private_key: Path
    """PEM file of its private key."""
    tls_certificate: Path
    """PEM file of the certificate of the workload ``gateway``, which the services see."""
    tls_private_key: Path
    """PEM file of its private key."""
    tls_trust_bundle: Path
    """PEM file of the authorities that sign the certificates of the mesh."""

    endpoints: dict[str, tuple[Endpoint, ...]]
    """``host:port`` of every replica of every service, for example ``{"auth": ["127.0.0.1:15051"], …}``; and as
    ``auth-edge`` those of auth's workers at the edge, if there are any: they are asked what has to be known while a
    call waits, and auth itself only while none of them is healthy."""
    token_issuer: str = "levimesh"  # noqa: S105 - the name of an issuer, not a secret
    """The issuer that access tokens must name."""
    token_audience: str = "levimesh"  # noqa: S105 - the name of an audience, not a secret
    """The audience that access tokens must name."""

    external_issuers: tuple[ExternalIssuer, ...] = ()
    """Other issuers whose tokens are taken too, as JSON; auth gives its own token for them. The JSON that auth is given
    (``AUTH_EXTERNAL_ISSUERS``) is understood here as it is."""

    rate_limit_scale: float = Field(default=1, ge=0, allow_inf_nan=False, validation_alias=RATE_LIMIT_SCALE)
    """``LEVIMESH_RATE_LIMIT_SCALE``, without a prefix because auth, which tells callers their limits and counts some of
    them, reads the same: each limit is that many times what the contract says; 0 for none at all, as a load test needs
    it."""
    admin_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """From where methods that are for admins alone may be called, for example ``["10.0.0.0/8"]``; without any, from
    everywhere."""
    trusted_proxies: int = Field(default=0, ge=0)
    """How many proxies stand before the gateway and tell a client's address in ``x-forwarded-for``."""

    max_connections: int = Field(default=10_000, gt=0)
    """The most connections of clients at once; more are closed as they come."""
    max_heap_bytes: int = Field(default=1024 * 1024 * 1024, gt=0)
    """The memory of Envoy. As it gets scarce, idle connections are closed first; at last new requests are refused."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call from a browser, for example ``["https://app.example.com"]``."""
    max_body_bytes: int = Field(default=1024 * 1024, gt=0)
    """The largest body of a request; a larger one is refused with 413."""
    otlp_endpoint: str | None = Field(default=None, pattern=r"^http://[^/:]+:\d+$")
    """Where traces are sent by OTLP over gRPC, for example ``http://127.0.0.1:14317``; none are made without it."""
    trace_sample_ratio: float = Field(default=0.01, ge=0, le=1)
    """The share of calls that are traced. Whether a client wants its call traced does not count."""

    @field_validator("socket_folder")
    @classmethod
    def _a_unix_socket_fits(cls, folder: Path) -> Path:
        if len(os.fsencode(folder.absolute())) > LONGEST_SOCKET_FOLDER:
            raise ValueError(f"a path of at most {LONGEST_SOCKET_FOLDER} bytes is possible here; choose a shorter one")
        return folder.absolute()

    @property
    def admin_socket(self) -> Path:
        """Where Envoy's administration listens."""
        return self.socket_folder / "admin.sock"

    @property
    def jwks_socket(self) -> Path:
        """Where Envoy listens for its own fetches of the keys that tokens are signed with."""
        return self.socket_folder / "jwks.sock"

    @model_validator(mode="after")
    def _every_service_has_an_endpoint(self) -> "GatewaySettings":
        if missing := sorted(name for name in SERVICES if not self.endpoints.get(name)):
            raise ValueError(f"endpoints: name at least one host:port for {', '.join(missing)}")
        if unknown := sorted(self.endpoints.keys() - {*SERVICES, ASKED}):
            raise ValueError(f"endpoints: there is no service {', '.join(unknown)}")
        return self
