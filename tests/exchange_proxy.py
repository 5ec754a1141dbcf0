"""A proxy between marketdata and simex that loses what a test wants to be lost."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web


class ExchangeProxy:
    """Passes REST and websocket on to the exchange at ``target``."""

    def __init__(self, target: str) -> None:
        self.url = ""
        self.dropped = 0
        """How many messages were lost."""
        self.connections = 0
        """How many websockets there have been."""
        self._target = target
        self._to_drop: dict[str, int] = {}
        self._sockets: set[web.WebSocketResponse] = set()

    def drop(self, market: str, event: str = "depthUpdate", count: int = 1) -> None:
        """Lose the next messages of one kind about ``market``, for example BTCUSDT."""
        self._to_drop[f"{event} {market}"] = count

    async def cut(self) -> None:
        """End all websockets."""
        for socket in tuple(self._sockets):
            await socket.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ExchangeProxy"]:
        """It listens meanwhile."""
        async with ClientSession() as session:
            self._session = session
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self._pass_on)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
                yield self
            finally:
                await self.cut()
                await runner.cleanup()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        url = self._target + request.path_qs
        if request.headers.get("upgrade", "").lower() == "websocket":
            async with self._session.ws_connect(url) as exchange:
                return await self._pass_messages(request, exchange)
        async with self._session.request(request.method, url, data=await request.read()) as answer:
            content = await answer.read()
            return web.Response(body=content, status=answer.status, content_type=answer.content_type)

    async def _pass_messages(self, request: web.Request, exchange: ClientWebSocketResponse) -> web.WebSocketResponse:
        client = web.WebSocketResponse()
        await client.prepare(request)
        self._sockets.add(client)
        self.connections += 1
        requests = asyncio.create_task(_pass_requests(client, exchange))
        try:
            with suppress(ConnectionError):
                async for message in exchange:
                    if message.type is WSMsgType.TEXT and not self._is_lost(message.data):
                        await client.send_str(message.data)
        finally:
            requests.cancel()
            self._sockets.discard(client)
            await client.close()
        return client

    def _is_lost(self, text: str) -> bool:
        message = json.loads(text)
        event = message.get("data", message)
        name = f"{event.get('e')} {event.get('s')}"
        if not self._to_drop.get(name):
            return False
        self._to_drop[name] -= 1
        self.dropped += 1
        return True


async def _pass_requests(client: web.WebSocketResponse, exchange: ClientWebSocketResponse) -> None:
    async for message in client:
        if message.type is WSMsgType.TEXT:
            await exchange.send_str(message.data)
    await exchange.close()
