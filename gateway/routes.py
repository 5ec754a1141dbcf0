"""Where calls go: a route for each method of the contracts, and nothing else."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from gateway.access import API_KEY, OPEN, guard_route
from gateway.clusters import NOWHERE_CLUSTER
from gateway.contracts import Method, exposed_methods, page_paths
from gateway.filters import TRANSCODER, cors_policy, transcoder
from gateway.limits import limit_route
from gateway.pages import page_routes
from gateway.settings import GatewaySettings
from gateway.statuses import own_status

Config = dict[str, Any]

_GRACE = timedelta(milliseconds=500)
"""How long after the deadline the gateway waits for a service to say itself that it is late."""


def virtual_host(settings: GatewaySettings, folder: Path) -> Config:
    """Every exposed method by its gRPC path, which the transcoder has made of a REST path; then the rest: not found."""
    host: Config = {
        "name": "mesh",
        "domains": ["*"],
        # Has been exchanged; services know only tokens.
        "request_headers_to_remove": [API_KEY],
        "routes": [
            *(method_route(method, settings) for method in exposed_methods()),
            *page_routes(folder, without=TRANSCODER),
            *_other_routes(settings, folder),
        ],
    }
    if settings.cors_origins:
        host["typed_per_filter_config"] = {"envoy.filters.http.cors": cors_policy(settings)}
    return host


def method_route(method: Method, settings: GatewaySettings) -> Config:
    """The route of one method; a token is needed unless the method is public. What is not gRPC never comes this far."""
    limits, rate_limits = limit_route(method, settings)
    status = own_status() if method.speaks_http else {}
    return {
        "name": method.path,
        "match": {"path": method.path},
        "route": {
            "cluster": method.workload,
            # With this block Envoy ignores ``timeout``, which would end streams.
            "max_stream_duration": _durations(method),
            "retry_policy": _retries(method),
            "rate_limits": rate_limits,
        },
        "typed_per_filter_config": {**guard_route(method, settings), **limits, **status},
    }


def _durations(method: Method) -> Config:
    """The deadline, or the shorter one of the client; none for streams. Envoy tells the service what is left."""
    if method.deadline is None:
        return {"max_stream_duration": "0s"}
    limit = f"{(method.deadline + _GRACE).total_seconds():.3f}s"
    return {"max_stream_duration": limit, "grpc_timeout_header_max": limit}


def _retries(method: Method) -> Config:
    """On another replica: whatever cannot have reached a service, and any failure of what may be repeated."""
    retry_on = ["connect-failure", "refused-stream"]
    if method.repeatable:
        retry_on += ["reset", "unavailable"]
    return {
        "retry_on": ",".join(retry_on),
        "num_retries": 2,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": 3,
    }


def _other_routes(settings: GatewaySettings, folder: Path) -> list[Config]:
    """gRPC to any other path is not found. REST paths are matched before they are transcoded: that chooses the form in
    which streams are written, and the transcoder refuses what is no method, so nothing is ever sent to their cluster.
    (CORS works only on routes that have one.)
    """
    grpc: Config = {
        "match": {"prefix": "/", "headers": [{"name": "content-type", "string_match": {"prefix": "application/grpc"}}]},
        "direct_response": {"status": 404},
        "typed_per_filter_config": OPEN,
    }
    server_sent_events: Config = {
        "match": {"prefix": "/", "headers": [{"name": "accept", "string_match": {"contains": "text/event-stream"}}]},
        "route": {"cluster": NOWHERE_CLUSTER},
        "typed_per_filter_config": {TRANSCODER: transcoder(settings, folder, stream_sse_style_delimited=True)},
    }
    # An authorization server ignores what it does not know (RFC 6749, 3.1).
    pages: list[Config] = [
        {
            "match": {"path": path},
            "route": {"cluster": NOWHERE_CLUSTER},
            "typed_per_filter_config": {TRANSCODER: transcoder(settings, folder, any_query=True)},
        }
        for path in page_paths()
    ]
    rest: Config = {"match": {"prefix": "/"}, "route": {"cluster": NOWHERE_CLUSTER}}
    return [grpc, server_sent_events, *pages, rest]
