"""Servers that speak as exchanges do, as far as their public market data goes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

FIRST_MS = 1_709_640_000_000
"""2024-03-05 12:00 UTC, when the first trade happened; one follows each second."""


@dataclass
class ExchangeServer:
    """An exchange with one market whose trades are numbered from 1000 on, one each second."""

    trades: int
    """How many have happened."""
    asked: list[str] = field(default_factory=list)
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    subscribed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def now_ms(self) -> int:
        return FIRST_MS + 1000 * self.trades

    @staticmethod
    def time_of(number: int) -> int:
        return FIRST_MS + 1000 * (number - 1000)

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send to everybody who listens."""
        for socket in self.sockets:
            await socket.send_str(json.dumps(message))

    async def listen(self, request: web.Request) -> web.WebSocketResponse:
        """A websocket; what is subscribed to is remembered with what was asked."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            if message.type is WSMsgType.TEXT and message.data != "ping":
                self.asked.append(f"{request.path} {message.data}")
                self.subscribed.set()
        return socket


@asynccontextmanager
async def serving(
    server: ExchangeServer, routes: Mapping[str, Callable[[web.Request], Any]], sockets: str
) -> AsyncIterator[str]:
    """The address where ``routes`` are answered with JSON, and websockets at paths like ``sockets``."""

    def answering(route: Callable[[web.Request], Any]) -> Any:
        async def answer(request: web.Request) -> web.Response:
            server.asked.append(request.path_qs)
            return web.json_response(route(request))

        return answer

    application = web.Application()
    for path, route in routes.items():
        application.router.add_get(path, answering(route))
    application.router.add_get(sockets, server.listen)
    async with TestServer(application) as running:
        yield str(running.make_url("")).rstrip("/")


def okx(server: ExchangeServer) -> Mapping[str, Callable[[web.Request], Any]]:
    """OKX's interface, version 5."""

    def trade(number: int) -> dict[str, str]:
        return {
            "instId": "BTC-USDT",
            "side": "buy" if number % 2 else "sell",
            "sz": "0.00012",
            "px": f"{60_000 + number / 10:.1f}",
            "source": "0",
            "tradeId": str(number),
            "ts": str(server.time_of(number)),
        }

    def history(request: web.Request) -> Any:
        newest, limit = 1000 + server.trades, int(request.query.get("limit", 100))
        after = request.query.get("after")
        numbers = range(1000, newest)
        if after and request.query.get("type", "1") == "1":
            numbers = range(1000, min(newest, int(after)))
        elif after:
            numbers = range(1000, min(newest, 1000 + max(0, -(-(int(after) - FIRST_MS) // 1000))))
        return ok([trade(number) for number in reversed(numbers[-limit:])])

    def ok(data: Any) -> Any:
        return {"code": "0", "msg": "", "data": data}

    instrument = {
        "instType": "SPOT",
        "instId": "BTC-USDT",
        "baseCcy": "BTC",
        "quoteCcy": "USDT",
        "tickSz": "0.1",
        "lotSz": "0.00000001",
        "minSz": "0.00001",
        "maxLmtSz": "9999999999",
        "state": "live",
    }
    return {
        "/api/v5/public/time": lambda _: ok([{"ts": str(server.now_ms)}]),
        "/api/v5/public/instruments": lambda _: ok([instrument]),
        "/api/v5/market/history-trades": history,
    }


def okx_trades(server: ExchangeServer, *numbers: int) -> dict[str, Any]:
    """A message of the channel ``trades-all``."""
    data = [
        {
            "instId": "BTC-USDT",
            "tradeId": str(number),
            "px": f"{60_000 + number / 10:.1f}",
            "sz": "0.00012",
            "side": "buy" if number % 2 else "sell",
            "source": "0",
            "ts": str(server.time_of(number)),
        }
        for number in numbers
    ]
    return {"arg": {"channel": "trades-all", "instId": "BTC-USDT"}, "data": data}


def okx_book(action: str, sequence: int, previous: int, bids: list[Any], asks: list[Any]) -> dict[str, Any]:
    """A message of the channel ``books``."""
    levels = {"bids": [[*level, "0", "1"] for level in bids], "asks": [[*level, "0", "1"] for level in asks]}
    data = {**levels, "ts": str(FIRST_MS), "checksum": 0, "prevSeqId": previous, "seqId": sequence}
    return {"arg": {"channel": "books", "instId": "BTC-USDT"}, "action": action, "data": [data]}


def kraken(server: ExchangeServer) -> Mapping[str, Callable[[web.Request], Any]]:
    """Kraken's public interface."""

    def trades(request: web.Request) -> Any:
        since_ns = int(request.query["since"])
        numbers = [number for number in range(1000, 1000 + server.trades) if server.time_of(number) * 10**6 > since_ns]
        page = numbers[:1000]
        rows = [
            [f"{60_000 + number / 10:.5f}", "0.00012000", server.time_of(number) / 1000, "b", "m", "", number]
            for number in page
        ]
        last = server.time_of(page[-1]) * 10**6 if page else since_ns
        return {"error": [], "result": {"XXBTZUSD": rows, "last": str(last)}}

    pair = {
        "altname": "XBTUSD",
        "wsname": "XBT/USD",
        "base": "XXBT",
        "quote": "ZUSD",
        "pair_decimals": 1,
        "lot_decimals": 8,
        "fees": [[0, 0.4]],
        "fees_maker": [[0, 0.25]],
        "leverage_buy": [],
        "ordermin": "0.00005",
        "costmin": "0.5",
        "tick_size": "0.1",
        "status": "online",
    }
    return {
        "/0/public/Time": lambda _: {"error": [], "result": {"unixtime": server.now_ms // 1000, "rfc1123": ""}},
        "/0/public/AssetPairs": lambda _: {"error": [], "result": {"XXBTZUSD": pair}},
        "/0/public/Trades": trades,
    }


def kraken_trades(server: ExchangeServer, *numbers: int) -> dict[str, Any]:
    """A message of the channel ``trade`` of the websocket, version 2; its numbers are no text."""
    data = [
        {
            "symbol": "BTC/USD",
            "side": "buy",
            "price": 60_000 + number / 10,
            "qty": 0.00012,
            "ord_type": "market",
            "trade_id": number,
            "timestamp": f"2024-03-05T12:{(number - 1000) // 60:02d}:{(number - 1000) % 60:02d}.000000Z",
        }
        for number in numbers
    ]
    assert all(server.time_of(number) < FIRST_MS + 3_600_000 for number in numbers)
    return {"channel": "trade", "type": "update", "data": data}
