import logging
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsError

from gateway.settings import GatewaySettings
from services.auth.settings import AuthSettings
from services.marketdata.settings import MarketDataSettings
from services.prediction.settings import PredictionSettings
from services.runtime.secret_files import SecretFile, find_secret
from services.runtime.settings import ServiceSettings
from services.simex.settings import SimexSettings
from services.trading.settings import TradingSettings

CANARY = "canary-4711"
ALL: tuple[type[BaseSettings], ...] = (
    AuthSettings,
    GatewaySettings,
    MarketDataSettings,
    PredictionSettings,
    SimexSettings,
    TradingSettings,
)


def a_file(path: Path, content: str = CANARY, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_a_secret_comes_from_the_environment() -> None:
    found = find_secret("X_PASSWORD", {"X_PASSWORD": CANARY})

    assert found is not None
    assert found.get_secret_value() == CANARY


def test_a_secret_comes_from_the_file_that_the_environment_names(tmp_path: Path) -> None:
    found = find_secret("X_PASSWORD", {"X_PASSWORD_FILE": str(a_file(tmp_path / "any", f"{CANARY}\n"))})

    assert found is not None
    assert found.get_secret_value() == CANARY


def test_a_secret_comes_from_the_folder_of_secrets(tmp_path: Path) -> None:
    a_file(tmp_path / "X_PASSWORD")

    found = find_secret("X_PASSWORD", {"LEVIMESH_SECRETS_DIR": str(tmp_path)})

    assert found is not None
    assert found.get_secret_value() == CANARY
    assert find_secret("Y_PASSWORD", {"LEVIMESH_SECRETS_DIR": str(tmp_path)}) is None


@pytest.mark.parametrize("ways", [("X", "X_FILE"), ("X", "LEVIMESH_SECRETS_DIR"), ("X_FILE", "LEVIMESH_SECRETS_DIR")])
def test_a_secret_that_is_given_twice_is_refused_and_both_ways_are_named(tmp_path: Path, ways: tuple[str, ...]) -> None:
    file = a_file(tmp_path / "X")
    every = {"X": CANARY, "X_FILE": str(file), "LEVIMESH_SECRETS_DIR": str(tmp_path)}

    with pytest.raises(SettingsError, match="X is given more than once") as refused:
        find_secret("X", {way: every[way] for way in ways})

    assert all(way in str(refused.value) for way in ways)
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        a_file(tmp_path / "secret", content)

    with pytest.raises(SettingsError, match=str(tmp_path / "secret")):
        SecretFile(tmp_path / "secret")


def test_a_changed_file_is_seen_and_an_unreadable_one_changes_nothing(tmp_path: Path) -> None:
    path = a_file(tmp_path / "secret", "one")
    secret = SecretFile(path)
    seen = [secret.get_secret_value()]

    a_file(tmp_path / "new", "two").replace(path)
    seen.append(secret.get_secret_value())
    path.write_text("")
    seen.append(secret.get_secret_value())
    path.unlink()
    seen.append(secret.get_secret_value())
    a_file(path, "three")
    seen.append(secret.get_secret_value())

    assert seen == ["one", "two", "two", "two", "three"]


def test_a_secret_shows_itself_nowhere(tmp_path: Path) -> None:
    secret = SecretFile(a_file(tmp_path / "secret"))

    assert CANARY not in f"{secret} {secret!r}"


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o440, False), (0o644, True)])
def test_a_file_that_everybody_may_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        SecretFile(a_file(tmp_path / "secret", mode=mode))

    assert ("chmod o=" in caplog.text) == warned
    assert CANARY not in caplog.text


def a_service(monkeypatch: pytest.MonkeyPatch, **variables: object) -> TradingSettings:
    given = {"TLS_CERTIFICATE": "/c", "TLS_PRIVATE_KEY": "/k", "TLS_TRUST_BUNDLE": "/b", **variables}
    for name, value in given.items():
        monkeypatch.setenv(f"TRADING_{name}", str(value))
    return TradingSettings()


def test_a_service_reads_its_urls_from_files_and_follows_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    database = a_file(tmp_path / "database", "postgresql+asyncpg://trading:one@db/levimesh\n")
    settings = a_service(
        monkeypatch, DATABASE_URL_FILE=database, REDIS_URL_FILE=a_file(tmp_path / "redis", "redis://redis/0")
    )
    before = settings.database_url.get_secret_value()

    a_file(tmp_path / "new", "postgresql+asyncpg://trading:two@db/levimesh").replace(database)

    assert before == "postgresql+asyncpg://trading:one@db/levimesh"
    assert settings.database_url.get_secret_value() == "postgresql+asyncpg://trading:two@db/levimesh"
    assert settings.redis_url.get_secret_value() == "redis://redis/0"


def test_a_password_goes_into_a_url_without_one_and_is_followed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    password = a_file(tmp_path / "password", "s/p:e@c i%al")
    settings = a_service(
        monkeypatch,
        DATABASE_URL="postgresql+asyncpg://trading@db:5432/levimesh?ssl=require",
        DATABASE_PASSWORD_FILE=password,
        REDIS_URL="redis://redis:6379/0",
        REDIS_PASSWORD_FILE=password,
    )
    before = settings.database_url.get_secret_value()

    a_file(tmp_path / "new", "two").replace(password)

    assert before == "postgresql+asyncpg://trading:s%2Fp%3Ae%40c%20i%25al@db:5432/levimesh?ssl=require"
    assert settings.database_url.get_secret_value() == "postgresql+asyncpg://trading:two@db:5432/levimesh?ssl=require"
    assert settings.redis_url.get_secret_value() == "redis://:two@redis:6379/0"
    assert "two" not in repr(settings)


def test_a_password_in_two_places_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="keep one of them") as refused:
        a_service(
            monkeypatch,
            DATABASE_URL=f"postgresql+asyncpg://trading:{CANARY}@db/levimesh",
            DATABASE_PASSWORD=CANARY,
            REDIS_URL="redis://redis",
        )

    assert CANARY not in str(refused.value)


def test_what_is_wrong_with_settings_is_said_without_repeating_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError) as refused:
        a_service(monkeypatch, DATABASE_URL=f"postgresql+asyncpg://trading:{CANARY}@db/levimesh", PORT="many")

    assert "redis_url" in str(refused.value)
    assert CANARY not in f"{refused.value}{refused.value!r}"


@pytest.mark.parametrize("settings", ALL, ids=lambda settings: settings.__name__)
def test_every_secret_of_every_process_may_come_from_a_file(settings: type[BaseSettings]) -> None:
    secrets = [name for name, field in settings.model_fields.items() if "SecretStr" in str(field.annotation)]
    looks_secret = [
        name
        for name, field in settings.model_fields.items()
        if name.endswith(("password", "secret", "api_key", "encryption_key", "database_url", "redis_url"))
    ]

    assert set(looks_secret) <= set(secrets), "what is secret is SecretStr"
    assert not secrets or "SettingsWithSecrets" in {base.__name__ for base in settings.__mro__}


def test_every_service_has_these_settings() -> None:
    assert all(
        issubclass(settings, ServiceSettings) for settings in ALL if settings not in (GatewaySettings, SimexSettings)
    )
    assert isinstance(ServiceSettings.model_fields["database_url"].annotation, type)
    assert issubclass(ServiceSettings.model_fields["database_url"].annotation, SecretStr)
