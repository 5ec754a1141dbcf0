"""The services as Envoy reaches them: mTLS with checked identity, health checks, and fail-over between replicas."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.access import JWKS_CLUSTER, external_jwks
from gateway.contracts import ASKED, SERVICES
from gateway.secrets import upstream_tls
from gateway.settings import GatewaySettings

Config = dict[str, Any]

OTLP_CLUSTER = "otlp"
NOWHERE_CLUSTER = "nowhere"
"""Has no endpoints."""


def clusters(settings: GatewaySettings, folder: Path) -> list[Config]:
    """One for each service, for what auth is asked meanwhile, for the keys of tokens, for what leads nowhere, and for
    traces when they are wanted.
    """
    found = [_service(workload, workload, [settings.endpoints[workload]], folder) for workload in SERVICES]
    found.append(_asked(settings, folder))
    found += [_jwks(settings), {"name": NOWHERE_CLUSTER, "type": "STATIC"}]
    found += external_jwks(settings)
    if settings.otlp_endpoint is not None:
        found.append(_grpc_cluster(OTLP_CLUSTER, [settings.otlp_endpoint.removeprefix("http://")]))
    return found


def _asked(settings: GatewaySettings, folder: Path) -> Config:
    """Workers that do nothing else, so that logins never keep an order waiting; auth itself knows the answers too."""
    workers, auth = settings.endpoints.get(ASKED, ()), settings.endpoints["auth"]
    return _service(ASKED, "auth", [workers, auth] if workers else [auth], folder)


def _service(name: str, workload: str, endpoints: Sequence[Sequence[str]], folder: Path) -> Config:
    """The replicas of ``workload``; further groups of ``endpoints`` are for when those before are not healthy."""
    return {
        **_grpc_cluster(name, *endpoints),
        "transport_socket": upstream_tls(workload, folder),
        "health_checks": [
            {
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_edge_interval": "1s",
                "timeout": "1s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "grpc_health_check": {},
            }
        ],
        "outlier_detection": {
            "consecutive_5xx": 5,
            "interval": "1s",
            "base_ejection_time": "5s",
            # Never the last replica: a service that answers errors is still better than none.
            "max_ejection_percent": 50,
        },
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_requests": 2000,
                    "max_pending_requests": 1000,
                    "retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": 10},
                }
            ]
        },
        # Without a healthy replica fail at once rather than trying sick ones.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }


def _grpc_cluster(name: str, *endpoints: Sequence[str]) -> Config:
    return {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {"priority": priority, "lb_endpoints": [_endpoint(address) for address in group]}
                for priority, group in enumerate(endpoints)
            ],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {"connection_keepalive": {"interval": "10s", "timeout": "5s"}}
                },
            }
        },
    }


def _endpoint(address: str) -> Config:
    host, _, port = address.rpartition(":")
    return {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}


def _jwks(settings: GatewaySettings) -> Config:
    """The socket of this process that turns a plain fetch of the keys into a call of the auth service."""
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(settings.jwks_socket)}}}}
    return {
        "name": JWKS_CLUSTER,
        "type": "STATIC",
        "load_assignment": {"cluster_name": JWKS_CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
