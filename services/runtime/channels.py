"""Channels to other services: mTLS, and the contract's deadlines and retries."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from levimesh.client.deadlines import Deadlines
from levimesh.client.service_config import service_config
from services.runtime.deadlines import seconds_left
from services.runtime.telemetry import outgoing_headers
from services.runtime.workload import WorkloadFiles


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

    return _RenewedChannel(connect, files.certificate)


class _RenewedChannel(grpc.aio.Channel):
    """Opens a new channel when a file has been replaced, because gRPC's own keeps the certificate it was opened with.

    Calls in progress stay where they began; a channel without calls gives up its connection by itself.
    """

    def __init__(self, connect: Callable[[], grpc.aio.Channel], certificate: Path) -> None:
        self._connect = connect
        self._certificate = certificate
        self._version = self._version_now()
        self._channels = [connect()]

    def unary_unary(self, *method: Any, **options: Any) -> Any:
        return self._on_newest("unary_unary", method, options)

    def unary_stream(self, *method: Any, **options: Any) -> Any:
        return self._on_newest("unary_stream", method, options)

    def stream_unary(self, *method: Any, **options: Any) -> Any:
        return self._on_newest("stream_unary", method, options)

    def stream_stream(self, *method: Any, **options: Any) -> Any:
        return self._on_newest("stream_stream", method, options)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._newest().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._newest().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._newest().channel_ready()

    async def close(self, grace: float | None = None) -> None:
        await asyncio.gather(*(channel.close(grace) for channel in self._channels))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _on_newest(self, kind: str, method: tuple[Any, ...], options: dict[str, Any]) -> Callable[..., Any]:
        def call(*request: Any, **how: Any) -> Any:
            return getattr(self._newest(), kind)(*method, **options)(*request, **how)

        return call

    def _newest(self) -> grpc.aio.Channel:
        # While the files cannot be read, the certificate at hand is as good as any.
        with suppress(OSError):
            if (version := self._version_now()) != self._version:
                self._channels.append(self._connect())
                self._version = version
        return self._channels[-1]

    def _version_now(self) -> tuple[int, int]:
        """Of the certificate, which is replaced after its key."""
        status = self._certificate.stat()
        return status.st_mtime_ns, status.st_ino


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
