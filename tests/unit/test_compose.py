"""docker-compose.yml gives every process settings that it takes."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from gateway.settings import GatewaySettings
from services.auth.settings import AuthSettings
from services.marketdata.settings import MarketDataSettings
from services.prediction.settings import PredictionSettings
from services.runtime.policy import RATE_LIMIT_SCALE
from services.simex.settings import SimexSettings
from services.stack.certificates import EDGE, WORKLOADS
from services.trading.settings import TradingSettings

COMPOSE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())
SETTINGS: dict[str, type[BaseSettings]] = {
    "auth": AuthSettings,
    "auth-edge": AuthSettings,
    "marketdata": MarketDataSettings,
    "prediction": PredictionSettings,
    "trading": TradingSettings,
    "simex": SimexSettings,
    "gateway-configuration": GatewaySettings,
}


def secrets_of(name: str) -> set[str]:
    """The files in /run/secrets of a service: where LEVIMESH_SECRETS_DIR points in the image."""
    given = COMPOSE["services"][name].get("secrets", [])
    return {each if isinstance(each, str) else each["target"] for each in given}


def variable_of(settings: type[BaseSettings], field: str) -> str:
    """The variable that a setting is read from."""
    alias = settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"{settings.model_config['env_prefix']}{field}".upper()


def holders_of(volume: str) -> set[str]:
    services: dict[str, Any] = COMPOSE["services"]
    return {
        name
        for name, service in services.items()
        if any(mount.startswith(f"{volume}:") for mount in service.get("volumes", []))
    }


@pytest.mark.parametrize("name", SETTINGS)
def test_every_variable_is_a_setting_and_no_setting_is_missing(name: str) -> None:
    settings, given = SETTINGS[name], COMPOSE["services"][name]["environment"].keys() | secrets_of(name)
    known = {variable_of(settings, field): field for field in settings.model_fields}
    assert given <= known.keys()
    required = {variable for variable, field in known.items() if settings.model_fields[field].is_required()}
    assert required <= given


@pytest.mark.parametrize("name", SETTINGS)
def test_a_process_starts_with_the_settings_that_it_is_given(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for secret in secrets_of(name):
        (tmp_path / secret).write_bytes(base64.b64encode(bytes(32)))
        (tmp_path / secret).chmod(0o600)
    monkeypatch.setenv("LEVIMESH_SECRETS_DIR", str(tmp_path))
    for variable, value in COMPOSE["services"][name]["environment"].items():
        if value is not None:
            monkeypatch.setenv(variable, value)

    SETTINGS[name]()


def test_who_checks_tokens_expects_the_issuer_that_auth_names_in_them() -> None:
    issuers = {
        COMPOSE["services"][name]["environment"].get(variable_of(settings, "token_issuer"))
        for name, settings in SETTINGS.items()
        if "token_issuer" in settings.model_fields
    }
    (port,) = COMPOSE["services"]["gateway"]["ports"]
    assert issuers == {f"https://localhost:{port.split(':')[1]}"}, "clients find its description there"


def test_auths_worker_is_auth_on_another_port() -> None:
    auth, worker = COMPOSE["services"]["auth"], COMPOSE["services"]["auth-edge"]
    (endpoint,) = json.loads(COMPOSE["services"]["gateway-configuration"]["environment"]["GATEWAY_ENDPOINTS"])[
        "auth-edge"
    ]

    assert worker["environment"] == {**auth["environment"], "AUTH_PORT": endpoint.split(":")[1]}
    assert worker["secrets"] == auth["secrets"]
    assert endpoint.startswith("auth-edge:")


def test_who_limits_calls_and_who_tells_of_it_read_the_same_scale() -> None:
    readers = {name for name, settings in SETTINGS.items() if "rate_limit_scale" in settings.model_fields}
    assert readers == {"auth", "auth-edge", "gateway-configuration"}
    variables = {variable_of(SETTINGS[name], "rate_limit_scale") for name in readers}
    assert variables == {RATE_LIMIT_SCALE}
    assert all(RATE_LIMIT_SCALE in COMPOSE["services"][name]["environment"] for name in readers)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_no_secret_is_in_an_environment_or_a_command(name: str) -> None:
    service = {key: value for key, value in COMPOSE["services"][name].items() if key != "secrets"}
    words = str({**service, "environment": {}, "healthcheck": {}})
    assert "PASSWORD" not in words
    assert "${" not in str(service), "what is put in from outside could be read by whoever inspects the container"
    for variable, value in service.get("environment", {}).items():
        assert "PASSWORD" not in variable or value.startswith("/run/secrets/")
        assert not re.search(r"://[^/]*:[^/]*@", value or "")


@pytest.mark.parametrize(
    ("name", "service"),
    [(service, service) for service in ("auth", "marketdata", "prediction", "trading")] + [("auth-edge", "auth")],
)
def test_a_service_sees_its_own_passwords_and_keys_only(name: str, service: str) -> None:
    own = {f"{service.upper()}_DATABASE_PASSWORD", f"{service.upper()}_REDIS_PASSWORD"}
    workers = {"auth-edge"} if service == "auth" else set()
    assert secrets_of(name) == own | ({"AUTH_KEY_ENCRYPTION_KEY"} if service == "auth" else set())
    assert holders_of(f"{service}-identity") == {service, "certificates"} | workers


def test_every_workload_has_a_volume_of_its_own_and_every_secret_a_file() -> None:
    assert {f"{name}-identity" for name in (*WORKLOADS, EDGE)} <= COMPOSE["volumes"].keys()
    named = {
        each if isinstance(each, str) else each["source"]
        for service in COMPOSE["services"].values()
        for each in service.get("secrets", [])
    }
    assert named == COMPOSE["secrets"].keys()
    made = Path(__file__).parents[2] / "deploy" / "compose" / "make-secrets.sh"
    assert all(name.removesuffix("_PASSWORD") in made.read_text() for name in named)


def test_the_authoritys_key_is_only_where_certificates_are_issued() -> None:
    assert holders_of("authority") == {"certificates"}


def test_every_volume_is_declared_and_used() -> None:
    named = {
        volume.split(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", [])
        if not volume.startswith("./")
    }
    assert named == set(COMPOSE["volumes"])
