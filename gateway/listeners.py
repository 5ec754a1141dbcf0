"""Where the gateway listens: with TLS for everybody, without for this machine, and for its own fetches of keys."""

from pathlib import Path
from typing import Any

from gateway.clusters import OTLP_CLUSTER
from gateway.contracts import exposed_methods
from gateway.errors import local_replies
from gateway.filters import TRANSCODER, http_filters, router, transcoder
from gateway.headers import careful_headers, without_spoofable_headers
from gateway.overload import http2_limits
from gateway.pages import LARGEST
from gateway.routes import method_route, virtual_host
from gateway.secrets import downstream_tls
from gateway.settings import GatewaySettings

Config = dict[str, Any]

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_HCM = f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTES = "mesh"
ROUTES_FILE = "routes.json"
"""Where both listeners of the edge have their routes from."""
_JWKS_METHOD = "/levimesh.auth.v1.AuthService/GetJwks"


def listeners(settings: GatewaySettings, folder: Path) -> list[Config]:
    """The edge with TLS, the edge without TLS on loopback when it is wanted, and the internal fetch of keys."""
    found = [
        {
            **_edge("edge_tls", settings.host, settings.tls_port, _connection_manager(settings, folder, tls=True)),
            "listener_filters": [
                {
                    "name": "envoy.filters.listener.tls_inspector",
                    "typed_config": {"@type": f"{_EXTENSIONS}.filters.listener.tls_inspector.v3.TlsInspector"},
                }
            ],
        }
    ]
    found[0]["filter_chains"][0]["transport_socket"] = downstream_tls(folder)
    if settings.plain_port:
        manager = _connection_manager(settings, folder, tls=False)
        found.append(_edge("edge_plain", "127.0.0.1", settings.plain_port, manager))
    found.append(_jwks(settings, folder))
    return found


def routes(settings: GatewaySettings, folder: Path) -> Config:
    """The content of ROUTES_FILE."""
    resource = {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": _ROUTES,
        "virtual_hosts": [virtual_host(settings, folder)],
        "max_direct_response_body_size_bytes": LARGEST,
        "validate_clusters": True,
    }
    return {"resources": [resource]}


def _edge(name: str, host: str, port: int, manager: Config) -> Config:
    return {
        "name": name,
        "address": {"socket_address": {"address": host, "port_value": port}},
        "per_connection_buffer_limit_bytes": 32 * 1024,
        "filter_chains": [
            {
                "transport_socket_connect_timeout": "5s",
                "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
            }
        ],
    }


def _connection_manager(settings: GatewaySettings, folder: Path, *, tls: bool) -> Config:
    """Limits as in Envoy's best practices for the edge."""
    manager: Config = {
        "@type": _HCM,
        "stat_prefix": "edge",
        "use_remote_address": True,
        "xff_num_trusted_hops": settings.trusted_proxies,
        "internal_address_config": {"unix_sockets": False},
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "strip_any_host_port": True,
        "server_name": "levimesh",
        "max_request_headers_kb": 16,
        "common_http_protocol_options": {
            "idle_timeout": "3600s",
            "max_headers_count": 64,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http2_protocol_options": http2_limits(),
        "request_headers_timeout": "10s",
        "request_timeout": "30s",
        # Streams beat every ten seconds.
        "stream_idle_timeout": "60s",
        "drain_timeout": "5s",
        "early_header_mutation_extensions": [without_spoofable_headers(settings)],
        # From a file, because listeners share what they have from the same one: the buckets of its routes above all.
        "rds": {
            "route_config_name": _ROUTES,
            "config_source": {"path_config_source": {"path": str(folder / ROUTES_FILE)}, "resource_api_version": "V3"},
        },
        "http_filters": http_filters(settings, folder, tls=tls),
        "local_reply_config": local_replies(careful_headers(tls=tls)),
        "access_log": [_access_log()],
    }
    if settings.otlp_endpoint is not None:
        manager["tracing"] = _tracing(settings)
    return manager


def _access_log() -> Config:
    """One JSON object a line on standard output. Paths only: a query may hold what should not be kept."""
    fields = {
        "timestamp": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ:ORIG_OR_PATH)%",
        "status": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "duration_ms": "%DURATION%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "peer": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "upstream": "%UPSTREAM_HOST%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "user": "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:claims:username)%",
    }
    return {
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": fields},
        },
    }


def _tracing(settings: GatewaySettings) -> Config:
    return {
        "random_sampling": {"value": settings.trace_sample_ratio * 100},
        "spawn_upstream_span": True,
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "grpc_service": {"envoy_grpc": {"cluster_name": OTLP_CLUSTER}, "timeout": "1s"},
                "service_name": "gateway",
            },
        },
    }


def _jwks(settings: GatewaySettings, folder: Path) -> Config:
    """No port: a socket that is used only by this Envoy's own fetch of the keys that tokens are signed with."""
    (get_jwks,) = (method for method in exposed_methods() if method.path == _JWKS_METHOD)
    manager: Config = {
        "@type": _HCM,
        "stat_prefix": "jwks",
        "route_config": {
            "virtual_hosts": [{"name": "jwks", "domains": ["*"], "routes": [method_route(get_jwks, settings)]}],
        },
        "http_filters": [{"name": TRANSCODER, "typed_config": transcoder(settings, folder)}, router()],
    }
    return {
        "name": "jwks",
        "address": {"pipe": {"path": str(settings.jwks_socket), "mode": 0o600}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
