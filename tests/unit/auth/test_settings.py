"""Settings that are wrong are refused with words that help, and without the secret."""

import pytest
from pydantic import ValidationError

from tests.auth import auth_settings


@pytest.mark.parametrize("key", ["", "c2hvcnQ=", "not base64 at all!"])
def test_a_key_encryption_key_of_another_size_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="openssl rand -base64 32"):
        auth_settings("postgresql+asyncpg://auth@127.0.0.1/levimesh", key_encryption_key=key)


def test_the_settings_do_not_show_their_secrets() -> None:
    settings = auth_settings("postgresql+asyncpg://auth:visible@127.0.0.1/levimesh")

    assert "visible" not in repr(settings)
    assert settings.key_encryption_key.get_secret_value() not in repr(settings)
