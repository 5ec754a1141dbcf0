"""Binance's websocket market streams: ``/ws`` and ``/stream``."""

import asyncio
import json
import logging
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from services.simex.errors import ApiError
from services.simex.feed import Feed
from services.simex.streams import Stream, parse_stream

_WAITING_MESSAGES = 10_000
"""How far a client may fall behind before it is cut off."""
_PING_SECONDS = 20.0
_LARGEST_REQUEST = 64 * 1024
_MOST_STREAMS = 1024

_log = logging.getLogger(__name__)


class StreamClient:
    """One connection: the streams it listens to and the messages that wait for it."""

    def __init__(self, feed: Feed, request: web.Request) -> None:
        self._feed = feed
        self._request = request
        self._combined = request.path.startswith("/stream")
        self._streams: dict[str, Stream] = {}
        self._waiting: asyncio.Queue[str] = asyncio.Queue(_WAITING_MESSAGES)

    def deliver(self, stream: str, data: str) -> None:
        """Queue an event; a client that has fallen too far behind is disconnected instead."""
        self._queue(f'{{"stream":"{stream}","data":{data}}}' if self._combined else data)

    def subscribe(self, names: list[str]) -> None:
        """Listen to streams; raises ApiError, and changes nothing, when one of them does not exist."""
        streams = {name: parse_stream(name) for name in names}
        if len(self._streams.keys() | streams.keys()) > _MOST_STREAMS:
            raise ApiError(2, f"Invalid request: a connection listens to at most {_MOST_STREAMS} streams")
        for stream in streams.values():
            self._feed.check(stream)
        for stream in streams.values():
            self._feed.subscribe(stream, self)
        self._streams.update(streams)

    def unsubscribe(self, names: list[str]) -> None:
        """Listen to streams no more; those it does not listen to are ignored."""
        for name in names:
            if (stream := self._streams.pop(name, None)) is not None:
                self._feed.unsubscribe(stream, self)

    async def serve(self, socket: web.WebSocketResponse) -> None:
        """Answer requests and send events until the connection ends."""
        writer = asyncio.create_task(self._write(socket))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._queue(json.dumps(self._answer(message.data)))
        finally:
            writer.cancel()

    def unsubscribe_all(self) -> None:
        """Listen to nothing more."""
        self.unsubscribe(list(self._streams))

    async def _write(self, socket: web.WebSocketResponse) -> None:
        try:
            while True:
                await socket.send_str(await self._waiting.get())
        except ConnectionError:
            self._disconnect()

    def _queue(self, text: str) -> None:
        try:
            self._waiting.put_nowait(text)
        except asyncio.QueueFull:
            _log.warning("a websocket client reads too slowly and is disconnected")
            self._disconnect()

    def _disconnect(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    def _answer(self, text: str) -> dict[str, Any]:
        try:
            request = json.loads(text)
        except ValueError:
            return _refusal(ApiError(3, "Invalid JSON: expected value"), None)
        if not isinstance(request, dict):
            return _refusal(ApiError(2, "Invalid request: expected an object"), None)
        try:
            return {"result": self._obey(request), "id": request.get("id")}
        except ApiError as error:
            return _refusal(error, request.get("id"))

    def _obey(self, request: dict[str, Any]) -> list[str] | None:
        method, names = request.get("method"), request.get("params", [])
        if method == "LIST_SUBSCRIPTIONS":
            return list(self._streams)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ApiError(2, "Invalid request: params must be a list of stream names")
        if method == "SUBSCRIBE":
            self.subscribe(names)
        elif method == "UNSUBSCRIBE":
            self.unsubscribe(names)
        else:
            raise ApiError(2, "Invalid request: method must be SUBSCRIBE, UNSUBSCRIBE or LIST_SUBSCRIPTIONS")
        return None


def _refusal(error: ApiError, request_id: object) -> dict[str, Any]:
    return {"error": {"code": error.code, "msg": error.message}, "id": request_id}


class StreamApi:
    """The websocket endpoints."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._sockets: set[web.WebSocketResponse] = set()

    def routes(self) -> list[web.RouteDef]:
        """Both endpoints, with the streams in the path or query or subscribed to later."""
        return [web.get(path, self.connect) for path in ("/ws", "/ws/{names:.*}", "/stream", "/stream/{names:.*}")]

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection."""
        names = request.match_info.get("names", "").split("/") + request.query.get("streams", "").split("/")
        client = StreamClient(self._feed, request)
        # A part that is no stream name is a client's own numbering of its connections.
        client.subscribe([name for name in names if "@" in name])
        socket = web.WebSocketResponse(heartbeat=_PING_SECONDS, compress=False, max_msg_size=_LARGEST_REQUEST)
        try:
            await socket.prepare(request)
            self._sockets.add(socket)
            await client.serve(socket)
        finally:
            client.unsubscribe_all()
            self._sockets.discard(socket)
        return socket

    async def close(self) -> None:
        """Say goodbye to every client."""
        going = (socket.close(code=WSCloseCode.GOING_AWAY, message=b"simex stops") for socket in self._sockets)
        await asyncio.gather(*going, return_exceptions=True)
