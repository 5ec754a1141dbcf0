"""Channels that follow the files that their certificates are in."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import grpc


class RenewedChannel(grpc.aio.Channel):
    """Opens a new channel when a file has been replaced, because gRPC's own keeps what it was opened with.

    Calls in progress stay where they began; their channel is closed after the last of them.
    """

    def __init__(
        self,
        connect: Callable[[], grpc.aio.Channel],
        version: Callable[[], object],
        unreadable: tuple[type[Exception], ...] = (OSError,),
    ) -> None:
        """``connect`` opens a channel by the files as they are, and ``version`` is another one when they are.

        Either may raise ``unreadable`` while the files cannot be used; what is open then is used on. ``connect`` is
        called at once, and raises through.
        """
        self._connect = connect
        self._version_now = version
        self._unreadable = unreadable
        self._version = version()
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

    def _current(self) -> "_Connection":
        # While the files cannot be read, what was in them is as good as anything.
        with suppress(*self._unreadable):
            if (version := self._version_now()) != self._version:
                replaced, self._newest = self._newest, _Connection(self._connect())
                self._version = version
                task = asyncio.get_running_loop().create_task(replaced.retire())
                self._retiring[task] = replaced.channel
                task.add_done_callback(lambda done: self._retiring.pop(done, None))
        return self._newest


class _Connection:
    """A channel with what it was opened with, and how many calls are on it."""

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
