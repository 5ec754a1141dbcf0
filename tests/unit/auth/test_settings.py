"""Settings that are wrong are refused with words that help, and without the secret."""

import base64

import pytest
from pydantic import ValidationError

from tests.auth import A_KEY_ENCRYPTION_KEY, auth_settings


@pytest.mark.parametrize("key", ["", "c2hvcnQ=", "not base64 at all!"])
def test_a_key_encryption_key_of_another_size_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="openssl rand -base64 32"):
        auth_settings("postgresql+asyncpg://auth@127.0.0.1/levimesh", key_encryption_key=key)


def test_the_settings_do_not_show_their_secrets() -> None:
    settings = auth_settings("postgresql+asyncpg://auth:visible@127.0.0.1/levimesh")

    assert "visible" not in repr(settings)
    assert settings.key_encryption_key.get_secret_value() not in repr(settings)


@pytest.mark.parametrize("keys", ["c2hvcnQ=", f"{A_KEY_ENCRYPTION_KEY},nonsense"])
def test_an_earlier_key_encryption_key_of_another_size_is_refused(keys: str) -> None:
    with pytest.raises(ValidationError, match="openssl rand -base64 32"):
        auth_settings("postgresql+asyncpg://auth@127.0.0.1/levimesh", previous_key_encryption_keys=keys)


def test_there_is_one_key_encryption_key_and_there_may_be_earlier_ones() -> None:
    url, another = "postgresql+asyncpg://auth@127.0.0.1/levimesh", base64.b64encode(bytes(31) + b"1").decode()
    settings = auth_settings(url, previous_key_encryption_keys=f" {another} ,")
    assert settings.key_encryption_keys() == [bytes(32), bytes(31) + b"1"]
    with pytest.raises(ValidationError, match="openssl rand -base64 32"):
        auth_settings(url, key_encryption_key=f"{A_KEY_ENCRYPTION_KEY},{another}")
