"""The gRPC server that every service runs: mTLS, limits, health, reflection, and the stages around each method."""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.runtime.health import Health
from services.runtime.policy import PolicyError, policies
from services.runtime.stages import Stages
from services.runtime.streaming import to_bytes
from services.runtime.workload import WorkloadFiles

# As in Envoy's edge best practices, and pings from clients that keep idle streams alive are welcome.
_OPTIONS = [
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.max_concurrent_streams", 1000),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.so_reuseport", 0),
]


def build_server(
    services: dict[ServiceDescriptor, object],
    stages: Stages,
    health: Health,
    *,
    extra_calls: int = 200,
    connection_seconds: float = 900,
) -> grpc.aio.Server:
    """A server of ``services`` (descriptor: servicer) that has neither a port nor been started.

    After about ``connection_seconds`` a peer is asked to connect anew, so that none outlives the certificate which it
    was let in with; calls and streams in progress are not touched.

    Raises PolicyError when a method has no sound policy, or is not implemented by its servicer.
    """
    # Beyond the limit at which the stages refuse with a reason: the last line of defence.
    # Health checks are among the extra ones: streams that stay open must never keep them out.
    limit = 2 * stages.max_concurrent_calls + extra_calls
    options = [*_OPTIONS, ("grpc.max_connection_age_ms", int(1000 * connection_seconds))]
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=limit)
    for service, servicer in services.items():
        handlers = method_handlers(service, servicer, stages)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
        health.serves(service.full_name)
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    names = [service.full_name for service in services]
    reflection.enable_server_reflection(
        [*names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME], server
    )
    return server


def method_handlers(
    service: ServiceDescriptor, servicer: object, stages: Stages
) -> dict[str, "grpc.RpcMethodHandler[Any, Any]"]:
    """A handler for each method of ``service``, behind its stages."""
    by_path = policies(service)
    return {
        method.name: _handler(method, _implementation(servicer, method), stages, by_path[path])
        for path, method in ((f"/{service.full_name}/{method.name}", method) for method in service.methods)
    }


def _handler(
    method: MethodDescriptor, implementation: Callable[..., Any], stages: Stages, policy: Any
) -> "grpc.RpcMethodHandler[Any, Any]":
    request_type = message_factory.GetMessageClass(method.input_type)
    response_type = message_factory.GetMessageClass(method.output_type)
    if method.client_streaming and not method.server_streaming:
        raise PolicyError(f"{method.full_name}: one answer to a stream of requests is not served; answer with a stream")
    if method.server_streaming:
        handler = (
            grpc.stream_stream_rpc_method_handler if method.client_streaming else grpc.unary_stream_rpc_method_handler
        )
        return handler(
            stages.stream(policy, implementation, response_type),
            request_type.FromString,
            to_bytes,
        )
    return grpc.unary_unary_rpc_method_handler(
        stages.unary(policy, implementation),
        request_type.FromString,
        response_type.SerializeToString,
    )


def _implementation(servicer: object, method: MethodDescriptor) -> Callable[..., Any]:
    own = getattr(type(servicer), method.name, None)
    if own is None or own.__module__.endswith("_pb2_grpc"):
        raise PolicyError(f"{type(servicer).__name__} does not implement {method.full_name}")
    implementation: Callable[..., Any] = getattr(servicer, method.name)
    return implementation


def listen(server: grpc.aio.Server, address: str, files: WorkloadFiles) -> int:
    """Listen on ``address`` with mTLS, reading the certificate again for each new connection. Returns the port.

    Raises RuntimeError, naming the address, when it is taken.
    """
    try:
        return server.add_secure_port(address, files.server_credentials())
    except RuntimeError as error:
        raise RuntimeError(f"cannot listen on {address}: is the port in use? Set another one") from error
