"""Channels to other services: mTLS, and the contract's deadlines and retries."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import grpc
from google.protobuf.descriptor import ServiceDescriptor

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

    return _RenewedChannel(connect, files)


class _Connection:
    """A channel with the certificate it was opened with, and how many calls are on it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.idle = asyncio.Event()
        self.idle.set()
        self._calls = 0

    def begin(self, call: Any) -> None:
        """Count ``call`` until it is over."""
        self._calls += 1
        self.idle.clear()
        call.add_done_callback(self._end)

    def _end(self, _: object) -> None:
        self._calls -= 1
        if not self._calls:
            self.idle.set()

    async def retire(self) -> None:
        """Close when the last call is over."""
        await self.idle.wait()
        await self.channel.close()


class _RenewedChannel(grpc.aio.Channel):
    """Opens a new channel when a file has been replaced, because gRPC's own keeps the certificate it was opened with.

    Calls in progress stay where they began; their channel is closed after the last of them.
    """

    def __init__(self, connect: Callable[[], grpc.aio.Channel], files: WorkloadFiles) -> None:
        self._connect = connect
        self._files = files
        self._version = files.version
        self._newest = _Connection(connect())
        self._retiring: dict[asyncio.Task[None], grpc.aio.Channel] = {}

    def unary_unary(self, *method: Any, **options: Any) -> Any:
        return self._on_newest("unary_unary", method, options)

    def unary_stream(self, *method: Any, **options: Any) -> Any:
        return self._on_newest("unary_stream", method, options)

    def stream_unary(self, *method: Any, **options: Any) -> Any:
        return self._on_newest("stream_unary", method, options)

    def stream_stream(self, *method: Any, **options: Any) -> Any:
        return self._on_newest("stream_stream", method, options)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._current().channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._current().channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._current().channel.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        retiring, self._retiring = self._retiring, {}
        for task in retiring:
            task.cancel()
        await asyncio.gather(*(each.close(grace) for each in (self._newest.channel, *retiring.values())))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _on_newest(self, kind: str, method: tuple[Any, ...], options: dict[str, Any]) -> Callable[..., Any]:
        def begin(*request: Any, **how: Any) -> Any:
            current = self._current()
            call = getattr(current.channel, kind)(*method, **options)(*request, **how)
            current.begin(call)
            return call

        return begin

    def _current(self) -> _Connection:
        # While the files cannot be read, the certificate at hand is as good as any.
        with suppress(OSError, IdentityUnreadable):
            if (version := self._files.version) != self._version:
                replaced, self._newest = self._newest, _Connection(self._connect())
                self._version = version
                task = asyncio.get_running_loop().create_task(replaced.retire())
                self._retiring[task] = replaced.channel
                task.add_done_callback(lambda done: self._retiring.pop(done, None))
        return self._newest


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
