"""Asking a process whether it is ready, by its own health."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from services.runtime.workload import WorkloadFiles

_SECONDS = 2.0
_SERVING = health_pb2.HealthCheckResponse.SERVING


class NotReady(Exception):
    """The process answers, and says that it is not ready."""


async def check_http(path: str, *, port: int = 0, socket: Path | None = None) -> None:
    """GET ``path`` from a port of 127.0.0.1 or from a unix ``socket``; raises unless the answer is 200."""
    status = await request_http("GET", path, port=port, socket=socket)
    if status != 200:
        raise NotReady(f"GET {path} answered {status}")


async def request_http(method: str, path: str, *, port: int = 0, socket: Path | None = None) -> int:
    """The status that a request without a body is answered with."""
    async with asyncio.timeout(_SECONDS):
        if socket is not None:
            reader, writer = await asyncio.open_unix_connection(str(socket))
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
            await writer.drain()
            words = (await reader.readline()).split()
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
    if len(words) < 2:
        raise NotReady(f"{method} {path} was not answered")
    return int(words[1])


class GrpcCheck:
    """grpc.health.v1 of a service, asked over mTLS as the workload whose ``files`` these are."""

    def __init__(self, workload: str, target: str, files: WorkloadFiles) -> None:
        self._workload = workload
        self._target = target
        self._files = files
        self._channel: grpc.aio.Channel | None = None

    async def __call__(self) -> str:
        """Raise NotReady unless the whole service is SERVING; returns which of its parts it serves without."""
        if self._channel is None:
            self._channel = self._open()
        try:
            statuses = await self._list(self._channel)
        except grpc.aio.AioRpcError as error:
            # The next check connects at once, without the channel's backoff, and with certificates of today.
            await self.close()
            raise NotReady(f"it does not answer ({error.code().name})") from error
        failing = sorted(name for name, status in statuses.items() if status != _SERVING and "." not in name)
        if "" in failing:
            raise NotReady(f"not serving: {', '.join(filter(None, failing)) or 'starting'}")
        return f"serves without {', '.join(failing)}" if failing else ""

    async def close(self) -> None:
        """Close the connection."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    @staticmethod
    async def _list(channel: grpc.aio.Channel) -> dict[str, int]:
        """The status of the whole (""), of its parts, and of its gRPC services by their full names."""
        messages: Any = health_pb2  # whose type information is older than List
        call = channel.unary_unary(
            "/grpc.health.v1.Health/List",
            request_serializer=messages.HealthListRequest.SerializeToString,
            response_deserializer=messages.HealthListResponse.FromString,
        )
        response = await call(messages.HealthListRequest(), timeout=_SECONDS)
        return {name: each.status for name, each in response.statuses.items()}

    def _open(self) -> grpc.aio.Channel:
        options = [("grpc.ssl_target_name_override", self._workload)]
        return grpc.aio.secure_channel(self._target, self._files.channel_credentials(), options)
