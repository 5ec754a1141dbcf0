"""The settings of the embedded stack."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

METRICS_OFFSET = 100
"""A service's metrics port is this much above its port."""
SERVICES = ("auth", "marketdata", "prediction", "trading")
"""The services of the mesh, by their folders."""
AUTH_EDGE = "auth-edge"
"""The worker of auth that the gateway asks while a call waits."""


class StackSettings(BaseSettings):
    """Read from the environment with the prefix ``LEVIMESH_``. All ports are on 127.0.0.1.

    What starts with the name of a service, such as ``TRADING_PAPER_CASH``, reaches that service as it is.
    """

    model_config = SettingsConfigDict(env_prefix="LEVIMESH_", frozen=True, use_attribute_docstrings=True)

    state: Path = Path(".levimesh")
    """Folder of everything that survives a stop: keys, data, models, logs."""
    gateway_port: int = Field(default=8443, ge=1, le=65535)
    """Port of the gateway with TLS."""
    gateway_plain_port: int = Field(default=8080, ge=1, le=65535)
    """Port of the gateway without TLS."""
    auth_port: int = Field(default=15051, ge=1, le=65435)
    """Port of auth; its metrics are 100 above, and so for the other services."""
    marketdata_port: int = Field(default=15052, ge=1, le=65435)
    """Port of marketdata."""
    prediction_port: int = Field(default=15053, ge=1, le=65435)
    """Port of prediction."""
    trading_port: int = Field(default=15054, ge=1, le=65435)
    """Port of trading."""
    auth_edge_port: int = Field(default=15055, ge=1, le=65435)
    """Port of auth's worker that the gateway asks while a call waits."""
    simex_port: int = Field(default=15080, ge=1, le=65535)
    """Port of simex, REST and websocket."""
    postgres_port: int = Field(default=15432, ge=1, le=65535)
    """Port of PostgreSQL."""
    redis_port: int = Field(default=15379, ge=1, le=65535)
    """Port of Redis."""

    certificate_life_seconds: int = Field(default=3600, ge=120)
    """How long the certificates are good that the stack issues; they are renewed at half of it."""
    authority_overlap_seconds: int = Field(default=15, ge=0)
    """How long two authorities are trusted before, and again after, the new one takes over from the old one."""

    def port(self, service: str) -> int:
        """The port of one of the SERVICES, or of AUTH_EDGE."""
        ports: Mapping[str, int] = {
            "auth": self.auth_port,
            "marketdata": self.marketdata_port,
            "prediction": self.prediction_port,
            "trading": self.trading_port,
            AUTH_EDGE: self.auth_edge_port,
        }
        return ports[service]

    @property
    def certificate_life(self) -> timedelta:
        """``certificate_life_seconds`` as a duration."""
        return timedelta(seconds=self.certificate_life_seconds)

    @property
    def authority_overlap(self) -> timedelta:
        """``authority_overlap_seconds`` as a duration."""
        return timedelta(seconds=self.authority_overlap_seconds)

    @property
    def issuer(self) -> str:
        """What access tokens name as their issuer: where clients find its description (OpenID Connect Discovery)."""
        return f"https://localhost:{self.gateway_port}"

    def target(self, service: str) -> str:
        """``host:port`` of one of the SERVICES, or of AUTH_EDGE."""
        return f"127.0.0.1:{self.port(service)}"

    def ports(self) -> list[tuple[str, int]]:
        """Every port that the stack takes, with the variable that changes it."""
        own = [(f"LEVIMESH_{name.upper()}", getattr(self, name)) for name in _PORTS]
        metrics = [
            (f"LEVIMESH_{name.upper().replace('-', '_')}_PORT", self.port(name) + METRICS_OFFSET)
            for name in (*SERVICES, AUTH_EDGE)
        ]
        return own + metrics


_PORTS = [name for name in StackSettings.model_fields if name.endswith("_port")]
