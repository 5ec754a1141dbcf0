"""docker-compose.yml gives every process settings that it takes."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from gateway.settings import GatewaySettings
from services.auth.settings import AuthSettings
from services.marketdata.settings import MarketDataSettings
from services.prediction.settings import PredictionSettings
from services.simex.settings import SimexSettings
from services.trading.settings import TradingSettings

COMPOSE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())
SETTINGS: dict[str, type[BaseSettings]] = {
    "auth": AuthSettings,
    "marketdata": MarketDataSettings,
    "prediction": PredictionSettings,
    "trading": TradingSettings,
    "simex": SimexSettings,
    "gateway-configuration": GatewaySettings,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_variable_is_a_setting_and_no_setting_is_missing(name: str) -> None:
    settings, given = SETTINGS[name], COMPOSE["services"][name]["environment"]
    prefix = settings.model_config["env_prefix"]
    known = {f"{prefix}{field}".upper(): field for field in settings.model_fields}
    assert given.keys() <= known.keys()
    required = {variable for variable, field in known.items() if settings.model_fields[field].is_required()}
    assert required <= given.keys()


def test_the_authoritys_key_is_only_where_certificates_are_issued() -> None:
    holders = [
        name
        for name, service in COMPOSE["services"].items()
        if any(volume.startswith("authority:") for volume in service.get("volumes", []))
    ]
    assert holders == ["certificates"]


def test_every_volume_is_declared_and_used() -> None:
    named = {
        volume.split(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", [])
        if not volume.startswith("./")
    }
    assert named == set(COMPOSE["volumes"])
