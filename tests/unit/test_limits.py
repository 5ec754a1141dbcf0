"""What auth tells a caller of its limits is what the gateway does."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.contracts import SERVICES, exposed_methods
from gateway.limits import LOCAL
from gateway.render import render
from gateway.settings import GatewaySettings
from services.auth import contracts
from services.auth.settings import AuthSettings
from services.auth.use_cases.limits import Allowances
from services.runtime.policy import RATE_LIMIT_SCALE, policies

Told = dict[tuple[str, str], tuple[int, float]]


def told_by_auth(scale: float) -> Told:
    allowances = Allowances((policy for service in contracts.MESH for policy in policies(service).values()), scale)
    found = {}
    for method in exposed_methods():
        for tier in ("standard",) if method.public else ("standard", "elevated"):
            said = allowances.of(method.path, tier)
            found[method.path, tier] = said.calls, float(said.seconds)
    return found


def done_by_the_gateway(settings: GatewaySettings, folder: Path) -> Told:
    (table,) = json.loads(render(settings, folder)["routes.json"])["resources"]
    (host,) = table["virtual_hosts"]
    found = {}
    for route in host["routes"]:
        for bucket in route.get("typed_per_filter_config", {}).get(LOCAL, {}).get("descriptors", []):
            tier = next((entry["value"] for entry in bucket["entries"] if entry["key"] == "tier"), "standard")
            amount = bucket["token_bucket"]
            assert amount["max_tokens"] == amount["tokens_per_fill"]
            found[route["match"]["path"], tier] = amount["max_tokens"], float(amount["fill_interval"].rstrip("s"))
    return found


@pytest.mark.parametrize("scale", ["1", "0.05", "0.001", "7"])
def test_auth_tells_the_amounts_that_the_gateway_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: str
) -> None:
    monkeypatch.setenv(RATE_LIMIT_SCALE, scale)
    certificates = ("edge_certificate", "edge_private_key", "tls_certificate", "tls_private_key", "tls_trust_bundle")
    given: dict[str, Any] = dict.fromkeys(certificates, tmp_path / "file.pem")
    given["endpoints"] = dict.fromkeys(SERVICES, ("127.0.0.1:1",))
    gateway = GatewaySettings(socket_folder=tmp_path, **given)

    told, done = told_by_auth(gateway.rate_limit_scale), done_by_the_gateway(gateway, tmp_path)

    counted_here = {method.path for method in exposed_methods() if not method.rate_limit.across_replicas}
    assert {path for path, _ in done} == counted_here
    assert done == {key: amount for key, amount in told.items() if key[0] in counted_here}


def test_the_scale_has_one_name_for_both_and_no_other() -> None:
    fields = [settings.model_fields["rate_limit_scale"] for settings in (GatewaySettings, AuthSettings)]

    assert {field.validation_alias for field in fields} == {RATE_LIMIT_SCALE}
