"""Channels to other services: mTLS, and the contract's deadlines and retries."""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from levimesh.client.channels import RenewedChannel
from levimesh.client.deadlines import Deadlines
from levimesh.client.service_config import service_config
from services.runtime.deadlines import seconds_left
from services.runtime.telemetry import outgoing_headers
from services.runtime.workload import IdentityUnreadable, WorkloadFiles


def open_channel(service: ServiceDescriptor, workload: str, target: str, files: WorkloadFiles) -> grpc.aio.Channel:
    """A channel for ``service`` to ``target``, whose certificate has to be that of ``workload``.

    Calls made after ``files`` were replaced show the new certificate.
    """
    options = [
        ("grpc.ssl_target_name_override", workload),
        ("grpc.service_config", service_config(service)),
        ("grpc.enable_retries", 1),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ]
    deadlines = Deadlines(service)
    interceptors: list[grpc.aio.ClientInterceptor] = [_UnaryOnward(deadlines), _StreamOnward(deadlines)]

    def connect() -> grpc.aio.Channel:
        return grpc.aio.secure_channel(target, files.channel_credentials(), options=options, interceptors=interceptors)

    return RenewedChannel(connect, lambda: files.version, (OSError, IdentityUnreadable))


class _Onward:
    """Hands on the trace of the call being served, and limits calls by the contract and by what is left of that one."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines

    def _onward(self, call: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        return grpc.aio.ClientCallDetails(
            method=call.method,
            timeout=self._deadlines.limit(call, seconds_left()),
            metadata=grpc.aio.Metadata(*(call.metadata or ()), *outgoing_headers()),
            credentials=call.credentials,
            wait_for_ready=call.wait_for_ready,
        )


class _UnaryOnward(_Onward, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(self._onward(client_call_details), request)


class _StreamOnward(_Onward, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(self._onward(client_call_details), request)
