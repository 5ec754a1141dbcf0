"""What Envoy does when there is too much: of connections, of memory, of streams that are opened only to be reset."""

from collections.abc import Mapping
from typing import Any

from gateway.settings import GatewaySettings

Config = dict[str, Any]

_MONITORS = "type.googleapis.com/envoy.extensions.resource_monitors"
_HEAP = "envoy.resource_monitors.fixed_heap"


def overload_manager(settings: GatewaySettings) -> Config:
    """As in Envoy's best practices for the edge: the scarcer memory gets, the less is taken on."""
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": f"{_MONITORS}.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": settings.max_connections,
                },
            },
            {
                "name": _HEAP,
                "typed_config": {
                    "@type": f"{_MONITORS}.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": settings.max_heap_bytes,
                },
            },
        ],
        # Counts what each stream keeps in memory, for the action that resets the largest.
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 20},
        "actions": [
            {**_action("reduce_timeouts", 0.75, 0.85), "typed_config": _shorter_timeouts()},
            _action("shrink_heap", 0.8),
            _action("disable_http_keepalive", 0.85),
            _action("reset_high_memory_stream", 0.88, 0.98),
            _action("stop_accepting_requests", 0.9),
            _action("stop_accepting_connections", 0.98),
        ],
    }


def runtime() -> Config:
    """Connections whose streams are mostly reset at once (CVE-2023-44487) are closed; none keeps a worker to itself."""
    return {
        "layers": [
            {
                "name": "levimesh",
                "static_layer": {
                    "overload.premature_reset_total_stream_count": 500,
                    "overload.premature_reset_min_stream_lifetime_seconds": 1,
                    "http.max_requests_per_io_cycle": 10,
                },
            }
        ]
    }


def http2_limits() -> Mapping[str, Any]:
    """Of a client's connection: streams, windows, and frames that cost us more than the client."""
    return {
        "max_concurrent_streams": 100,
        "initial_stream_window_size": 64 * 1024,
        "initial_connection_window_size": 1024 * 1024,
        "max_outbound_frames": 10_000,
        "max_outbound_control_frames": 1000,
        "max_consecutive_inbound_frames_with_empty_payload": 1,
        "max_inbound_priority_frames_per_stream": 100,
        "max_inbound_window_update_frames_per_data_frame_sent": 10,
    }


def _action(name: str, threshold: float, saturation: float | None = None) -> Config:
    trigger: Config = (
        {"threshold": {"value": threshold}}
        if saturation is None
        else {"scaled": {"scaling_threshold": threshold, "saturation_threshold": saturation}}
    )
    return {"name": f"envoy.overload_actions.{name}", "triggers": [{"name": _HEAP, **trigger}]}


def _shorter_timeouts() -> Config:
    return {
        "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
        "timer_scale_factors": [{"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "2s"}],
    }
