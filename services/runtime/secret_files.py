"""Secrets from the environment or from files, which are read again when they change."""

import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin
from urllib.parse import quote, urlsplit

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

_log = logging.getLogger(__name__)

FOLDER = "LEVIMESH_SECRETS_DIR"
"""Names a folder whose files are named like the variables that they stand for."""

_MOUNTED = Path("/run/secrets")
"""Where a container has the secrets that are meant for it: nobody else is there to read them."""


class SecretFile(SecretStr):
    """The content of a file, without the end of its line; a change of the file is seen at the next use.

    While the file cannot be read, or is empty, what it held before stays good. Raises SettingsError at the first time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._version = self._version_now()
            super().__init__(_content(path))
        except (OSError, ValueError) as error:
            raise SettingsError(f"the secret in {path} cannot be read: {error}") from error
        if stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXO and _MOUNTED not in path.parents:
            _log.warning("other users may read %s; change that with: chmod o= %s", path, path)

    def get_secret_value(self) -> str:
        """What the file holds."""
        try:
            if (version := self._version_now()) != self._version:
                self._secret_value = _content(self._path)
                self._version = version
        except (OSError, ValueError) as error:
            _log.warning(
                "a secret cannot be read; the last one stays", extra={"path": str(self._path), "error": str(error)}
            )
        return self._secret_value

    def _version_now(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_ino, status.st_size


class UrlWithPassword(SecretStr):
    """A URL whose password comes from elsewhere, as it is at the time of each use."""

    def __init__(self, url: SecretStr, password: SecretStr) -> None:
        self._url = url
        self._password = password
        super().__init__(self.get_secret_value())

    def get_secret_value(self) -> str:
        """The URL with its password."""
        parts = urlsplit(self._url.get_secret_value())
        user, _, place = parts.netloc.rpartition("@")
        password = quote(self._password.get_secret_value(), safe="")
        return parts._replace(netloc=f"{user}:{password}@{place}").geturl()


def has_password(url: SecretStr) -> bool:
    """Whether ``url`` has a password of its own."""
    return ":" in urlsplit(url.get_secret_value()).netloc.rpartition("@")[0]


def find_secret(variable: str, environment: Mapping[str, str] = os.environ) -> SecretStr | None:
    """The secret ``variable``: its value in the environment, or the content of a file.

    The file is the one that ``<variable>_FILE`` names, or the one of that name in the folder that FOLDER names. Raises
    SettingsError when it is given in more than one way, or cannot be read.
    """
    given: dict[str, SecretStr | Path] = {}
    if variable in environment:
        given[variable] = SecretStr(environment[variable])
    if path := environment.get(f"{variable}_FILE"):
        given[f"{variable}_FILE"] = Path(path)
    if (folder := environment.get(FOLDER)) and (Path(folder) / variable).exists():
        given[f"{variable} in {FOLDER}"] = Path(folder) / variable
    if len(given) > 1:
        raise SettingsError(f"{variable} is given more than once, by {' and by '.join(given)}; keep one of them")
    for found in given.values():
        return SecretFile(found) if isinstance(found, Path) else found
    return None


class SecretsSource(PydanticBaseSettingsSource):
    """Where pydantic finds the secrets among the settings: by ``find_secret``, named with their class's prefix."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """As pydantic wants it: the value, the field's name, and that it is not JSON."""
        variable = f"{self.config.get('env_prefix', '')}{field_name}".upper()
        return (find_secret(variable) if _is_secret(field.annotation) else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        """The secrets that are given."""
        fields = self.settings_cls.model_fields.items()
        found = {name: self.get_field_value(field, name)[0] for name, field in fields}
        return {name: secret for name, secret in found.items() if secret is not None}


class SettingsWithSecrets(BaseSettings):
    """Settings whose secrets may come from files; and no error of theirs repeats what was given."""

    model_config = SettingsConfigDict(hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then secrets, then the environment."""
        return init_settings, SecretsSource(settings_cls), env_settings, dotenv_settings, file_secret_settings


def _is_secret(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, UnionType):
        return any(_is_secret(each) for each in get_args(annotation))
    return isinstance(annotation, type) and issubclass(annotation, SecretStr)


def _content(path: Path) -> str:
    content = path.read_text(encoding="utf-8").rstrip("\r\n")
    if not content:
        raise ValueError("it is empty")
    return content
