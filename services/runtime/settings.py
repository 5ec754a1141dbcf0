"""The settings that every service has."""

from pathlib import Path

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from services.runtime.secret_files import SettingsWithSecrets, UrlWithPassword, has_password


class ServiceSettings(SettingsWithSecrets):
    """Read from the environment; a service's own class sets the prefix, for example ``TRADING_``.

    Secrets may also be in files: see ``secret_files``.
    """

    model_config = SettingsConfigDict(frozen=True, use_attribute_docstrings=True, extra="ignore")

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(ge=0, le=65535)
    """Port for gRPC; 0 takes a free one."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port where Prometheus scrapes this process; 0 for none."""
    log_level: str = "INFO"
    """The least severe level that is logged."""

    tls_certificate: Path
    """PEM file of this workload's certificate. The three files may be replaced while the process runs."""
    tls_private_key: Path
    """PEM file of its private key."""
    tls_trust_bundle: Path
    """PEM file of the authorities that sign the certificates of the mesh."""

    database_url: SecretStr
    """SQLAlchemy URL, for example ``postgresql+asyncpg://trading:…@127.0.0.1:15432/levimesh``."""
    database_password: SecretStr | None = None
    """The password for a ``database_url`` that has none."""
    redis_url: SecretStr
    """Redis URL, for example ``redis://:…@127.0.0.1:15379/0``."""
    redis_password: SecretStr | None = None
    """The password for a ``redis_url`` that has none."""

    auth_target: str = "127.0.0.1:15051"
    """Where the auth service serves the keys that access tokens are signed with."""
    token_issuer: str = "levimesh"  # noqa: S105 - the name of an issuer, not a secret
    """The issuer that access tokens must name."""
    token_audience: str = "levimesh"  # noqa: S105 - the name of an audience, not a secret
    """The audience that access tokens must name."""

    trust_revocations_seconds: float = Field(default=60, ge=1)
    """How long the list of ended sessions is relied upon while the auth service is away; then no user is let in."""

    otlp_endpoint: str | None = None
    """Where traces are sent by OTLP over gRPC, for example ``http://127.0.0.1:14317``; none are made without it."""
    trace_sample_ratio: float = Field(default=0.01, ge=0, le=1)
    """The share of calls without a sampling decision of their caller that are traced."""
    max_concurrent_calls: int = Field(default=1000, gt=0)
    """Calls in progress beyond which further ones are refused with RESOURCE_EXHAUSTED; the same for streams."""
    connection_seconds: float = Field(default=900, ge=1)
    """How long a connection lives before its peer connects anew, with the certificate that it has then."""
    drain_seconds: float = Field(default=5.0, ge=0)
    """How long calls in progress may take to finish at shutdown."""
    drain_notice_seconds: float = Field(default=2.5, ge=0)
    """How long health says NOT_SERVING before calls are refused, so that balancers turn away first."""

    @model_validator(mode="after")
    def _put_passwords_into_urls(self) -> "ServiceSettings":
        for name in ("database", "redis"):
            url: SecretStr = getattr(self, f"{name}_url")
            password: SecretStr | None = getattr(self, f"{name}_password")
            if password is None or isinstance(url, UrlWithPassword):
                continue
            if has_password(url):
                raise ValueError(f"there is a {name}_password, and another one in {name}_url; keep one of them")
            # The settings are frozen once they are made; this is the making.
            self.__dict__[f"{name}_url"] = UrlWithPassword(url, password)
        return self
