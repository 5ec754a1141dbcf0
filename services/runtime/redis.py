"""Redis by a URL whose password may change while the process runs."""

from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr
from redis.credentials import CredentialProvider


def connect_to(url: SecretStr) -> dict[str, Any]:
    """Arguments of redis-py's ``from_url``: ``url``, whose credentials are taken anew for each connection."""
    parts = urlsplit(url.get_secret_value())
    credentials, _, place = parts.netloc.rpartition("@")
    if not credentials:
        return {"url": parts.geturl()}
    return {"url": parts._replace(netloc=place).geturl(), "credential_provider": _Credentials(url)}


class _Credentials(CredentialProvider):
    def __init__(self, url: SecretStr) -> None:
        self._url = url

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        user, _, password = urlsplit(self._url.get_secret_value()).netloc.rpartition("@")[0].partition(":")
        return (unquote(user), unquote(password)) if user else (unquote(password),)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()
