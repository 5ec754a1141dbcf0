"""The HTTP filters, in the order in which a request passes them."""

from pathlib import Path
from typing import Any

from gateway.access import access_filters
from gateway.contracts import SERVICES
from gateway.headers import address_filter, answer_filter
from gateway.limits import counting_filters, local_filter
from gateway.settings import GatewaySettings
from gateway.statuses import status_filter

Config = dict[str, Any]

TRANSCODER = "envoy.filters.http.grpc_json_transcoder"
DESCRIPTORS_FILE = "descriptors.binpb"

_TYPES = "type.googleapis.com/envoy.extensions.filters.http"


def http_filters(settings: GatewaySettings, folder: Path, *, tls: bool) -> list[Config]:
    """Transcoding stands before everything that decides, so one rule set sees REST and gRPC alike."""
    return [
        answer_filter(tls=tls),
        _filter("envoy.filters.http.cors", "cors.v3.Cors"),
        _filter("envoy.filters.http.health_check", "health_check.v3.HealthCheck", **_health()),
        _filter("envoy.filters.http.grpc_web", "grpc_web.v3.GrpcWeb"),
        _filter(
            "envoy.filters.http.body_size_limit",
            "body_size_limit.v3.BodySizeLimit",
            max_request_bytes=settings.max_body_bytes,
        ),
        status_filter(),
        {"name": TRANSCODER, "typed_config": transcoder(settings, folder, stream_newline_delimited=True)},
        address_filter(),
        _filter(
            "envoy.filters.http.grpc_stats",
            "grpc_stats.v3.FilterConfig",
            stats_for_all_methods=True,
            replace_dots_in_grpc_service_name=True,
        ),
        *access_filters(settings),
        local_filter(),
        *counting_filters(),
        router(),
    ]


def router() -> Config:
    """The filter that sends a request to its cluster."""
    return _filter("envoy.filters.http.router", "router.v3.Router", suppress_envoy_headers=True)


def transcoder(settings: GatewaySettings, folder: Path, *, any_query: bool = False, **stream: bool) -> Config:
    """REST to gRPC by the contracts' ``google.api.http`` options; ``stream`` is how streams of messages are written.

    With ``any_query`` parameters that the method does not have are left out of account instead of being refused.
    """
    return {
        "@type": f"{_TYPES}.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor": str(folder / DESCRIPTORS_FILE),
        "services": [service.full_name for services in SERVICES.values() for service in services],
        "convert_grpc_status": True,
        "match_unregistered_custom_verb": True,
        # A body must never override what the path says, and a typing error in a query must not pass unnoticed.
        "request_validation_options": {
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": not any_query,
            "reject_binding_body_field_collisions": True,
        },
        "ignore_unknown_query_parameters": any_query,
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
        "expose_headers": "grpc-status, grpc-message, grpc-status-details-bin, retry-after, "
        "ratelimit-limit, ratelimit-remaining, ratelimit-reset",
        "max_age": "600",
        # To where nothing answers them, so they learn nothing.
        "forward_not_matching_preflights": True,
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


def _filter(filter_name: str, config_type: str, **fields: Any) -> Config:
    return {"name": filter_name, "typed_config": {"@type": f"{_TYPES}.{config_type}", **fields}}
