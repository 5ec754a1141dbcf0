"""The HTTP filters, in the order in which a request passes them."""

from pathlib import Path
from typing import Any

from gateway.contracts import SERVICES
from gateway.settings import GatewaySettings

Config = dict[str, Any]

TRANSCODER = "envoy.filters.http.grpc_json_transcoder"
JWT_AUTHN = "envoy.filters.http.jwt_authn"
JWKS_CLUSTER = "jwks"
DESCRIPTORS_FILE = "descriptors.binpb"

_TYPES = "type.googleapis.com/envoy.extensions.filters.http"


def http_filters(settings: GatewaySettings, folder: Path) -> list[Config]:
    """Transcoding stands before everything that decides, so one rule set sees REST and gRPC alike."""
    return [
        _filter("envoy.filters.http.cors", "cors.v3.Cors"),
        _filter("envoy.filters.http.health_check", "health_check.v3.HealthCheck", **_health()),
        _filter("envoy.filters.http.grpc_web", "grpc_web.v3.GrpcWeb"),
        _filter(
            "envoy.filters.http.body_size_limit",
            "body_size_limit.v3.BodySizeLimit",
            max_request_bytes=settings.max_body_bytes,
        ),
        {"name": TRANSCODER, "typed_config": transcoder(settings, folder, stream_newline_delimited=True)},
        _filter(
            "envoy.filters.http.grpc_stats",
            "grpc_stats.v3.FilterConfig",
            stats_for_all_methods=True,
            replace_dots_in_grpc_service_name=True,
        ),
        _filter(JWT_AUTHN, "jwt_authn.v3.JwtAuthentication", **_jwt(settings)),
        router(),
    ]


def router() -> Config:
    """The filter that sends a request to its cluster."""
    return _filter("envoy.filters.http.router", "router.v3.Router", suppress_envoy_headers=True)


def transcoder(settings: GatewaySettings, folder: Path, **stream: bool) -> Config:
    """REST to gRPC by the contracts' ``google.api.http`` options; ``stream`` is how streams of messages are written."""
    return {
        "@type": f"{_TYPES}.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor": str(folder / DESCRIPTORS_FILE),
        "services": [service.full_name for services in SERVICES.values() for service in services],
        "convert_grpc_status": True,
        "match_unregistered_custom_verb": True,
        # A body must never override what the path says, and a typing error in a query must not pass unnoticed.
        "request_validation_options": {
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": True,
            "reject_binding_body_field_collisions": True,
        },
        "print_options": {
            "always_print_primitive_fields": True,
            "preserve_proto_field_names": True,
            **stream,
        },
        "max_request_body_size": settings.max_body_bytes,
    }


def cors_policy(settings: GatewaySettings) -> Config:
    """Which origins may call from a browser, and which headers their pages may send and see."""
    return {
        "@type": f"{_TYPES}.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": origin} for origin in settings.cors_origins],
        "allow_methods": "GET, POST, PUT, PATCH, DELETE",
        "allow_headers": "authorization, content-type, x-grpc-web, grpc-timeout, x-user-agent",
        "expose_headers": "grpc-status, grpc-message, grpc-status-details-bin",
        "max_age": "600",
        "forward_not_matching_preflights": False,
    }


def _health() -> Config:
    """``GET /health``: 200 while every service has a healthy replica, else 503."""
    return {
        "pass_through_mode": False,
        "headers": [
            {"name": ":path", "string_match": {"exact": "/health"}},
            {"name": ":method", "string_match": {"exact": "GET"}},
        ],
        "cluster_min_healthy_percentages": {workload: {"value": 1} for workload in SERVICES},
    }


def _jwt(settings: GatewaySettings) -> Config:
    """A token of the auth service is needed everywhere, except where a route says otherwise."""
    provider: Config = {
        "issuer": settings.token_issuer,
        "audiences": [settings.token_audience],
        "forward": True,
        "clock_skew_seconds": 5,
        "payload_in_metadata": "claims",
        "remote_jwks": {
            "http_uri": {"uri": "http://auth/.well-known/jwks.json", "cluster": JWKS_CLUSTER, "timeout": "2s"},
            # A new key has to be published this long before it signs.
            "cache_duration": "60s",
            "async_fetch": {"fast_listener": True, "failed_refetch_duration": "1s"},
        },
        "jwt_cache_config": {"jwt_cache_size": 1000},
    }
    return {
        "providers": {"auth": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "auth"}}],
        "bypass_cors_preflight": True,
    }


def _filter(filter_name: str, config_type: str, **fields: Any) -> Config:
    return {"name": filter_name, "typed_config": {"@type": f"{_TYPES}.{config_type}", **fields}}
