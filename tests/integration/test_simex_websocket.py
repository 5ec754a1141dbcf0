"""The websocket itself: requests, refusals, combined streams and slow readers."""

import asyncio
import base64
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from services.simex.server import open_simex
from services.simex.settings import SimexSettings
from tests.unit.simex.builders import MONDAY_MS, HandClock

MINUTE_MS = 60_000


@dataclass
class Simex:
    """A running exchange whose clock is moved by hand."""

    url: str
    clock: HandClock
    http: aiohttp.ClientSession

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.http.get(f"{self.url}/api/v3/{path}") as response:
            return response.status, await response.json()


@pytest.fixture
async def simex() -> AsyncIterator[Simex]:
    clock = HandClock(MONDAY_MS + 1)
    settings = SimexSettings(port=0, history_days=1, tick_seconds=0.01)
    async with open_simex(settings, clock) as url, aiohttp.ClientSession() as http:
        yield Simex(url, clock, http)


async def asked(connection: aiohttp.ClientWebSocketResponse, method: str, params: object, request_id: int = 1) -> Any:
    await connection.send_json({"method": method, "params": params, "id": request_id})
    return await connection.receive_json(timeout=5)


async def test_streams_are_subscribed_listed_and_left(simex: Simex) -> None:
    async with simex.http.ws_connect(f"{simex.url}/ws") as connection:
        assert await asked(connection, "SUBSCRIBE", ["btcusdt@trade", "ethusdt@kline_1m"]) == {"result": None, "id": 1}
        assert await asked(connection, "UNSUBSCRIBE", ["ethusdt@kline_1m", "never@trade"]) == {"result": None, "id": 1}
        listed = await asked(connection, "LIST_SUBSCRIPTIONS", [], 7)

    assert listed == {"result": ["btcusdt@trade"], "id": 7}


@pytest.mark.parametrize("path", ["ws/btcusdt@trade", "stream?streams=btcusdt@trade/ethusdt@trade", "stream/0"])
async def test_streams_can_be_named_in_the_address(simex: Simex, path: str) -> None:
    async with simex.http.ws_connect(f"{simex.url}/{path}") as connection:
        if path == "stream/0":
            await asked(connection, "SUBSCRIBE", ["btcusdt@trade"])
        simex.clock.advance(MINUTE_MS)
        message = await connection.receive_json(timeout=5)

    event = message["data"] if path.startswith("stream") else message
    assert event["e"] == "trade"
    if path.startswith("stream"):
        assert message["stream"] == event["s"].lower() + "@trade"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not json", 3),
        ("[]", 2),
        ('{"method": "SUBSCRIBE", "params": "btcusdt@trade", "id": 4}', 2),
        ('{"method": "SUBSCRIBE", "params": ["btcusdt@nothing"], "id": 4}', 2),
        ('{"method": "SUBSCRIBE", "params": ["dogeusdt@trade"], "id": 4}', -1121),
        ('{"method": "SUBSCRIBE", "params": ["btcusdt@trade", "btcusdt@kline_7m"], "id": 4}', -1120),
        ('{"method": "DANCE", "params": [], "id": 4}', 2),
    ],
)
async def test_a_wrong_request_is_refused_and_changes_nothing(simex: Simex, text: str, code: int) -> None:
    async with simex.http.ws_connect(f"{simex.url}/ws") as connection:
        await connection.send_str(text)
        refusal = await connection.receive_json(timeout=5)

        assert refusal["error"]["code"] == code
        assert (await asked(connection, "LIST_SUBSCRIPTIONS", []))["result"] == []


async def test_an_unknown_stream_in_the_address_is_refused(simex: Simex) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await simex.http.ws_connect(f"{simex.url}/ws/dogeusdt@trade")

    assert refused.value.status == 400


async def test_a_client_that_does_not_read_is_cut_off_and_nobody_else_waits(
    simex: Simex, caplog: pytest.LogCaptureFixture
) -> None:
    streams = "/".join(f"{symbol}@{kind}" for symbol in ("btcusdt", "ethusdt") for kind in ("trade", "aggTrade"))
    heard: list[int] = []
    async with (
        _a_client_that_does_not_read(simex.url, f"/stream?streams={streams}") as reader,
        simex.http.ws_connect(f"{simex.url}/ws/btcusdt@trade") as healthy,
        asyncio.timeout(30),
    ):
        while "reads too slowly" not in caplog.text:
            simex.clock.advance(MINUTE_MS)
            while not heard or heard[-1] < simex.clock.now_ms() - MINUTE_MS // 2:
                heard.append((await healthy.receive_json())["T"])

        with suppress(ConnectionError):
            while await reader.read(2**16):
                pass
        simex.clock.advance(MINUTE_MS)
        assert (await healthy.receive_json())["e"] == "trade"
    assert len(heard) > 1000


@asynccontextmanager
async def _a_client_that_does_not_read(url: str, path: str) -> AsyncIterator[asyncio.StreamReader]:
    host, port = url.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=connection, limit=1024)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
    writer.write("\r\n".join(lines).encode())
    await reader.readuntil(b"\r\n\r\n")
    try:
        yield reader
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_clients_are_told_when_simex_stops() -> None:
    settings = SimexSettings(port=0, history_days=1)
    async with aiohttp.ClientSession() as http:
        async with open_simex(settings, HandClock(MONDAY_MS)) as url:
            connection = await http.ws_connect(f"{url}/ws")
        message = await connection.receive(timeout=5)

    assert message.type is aiohttp.WSMsgType.CLOSE
    assert message.data == aiohttp.WSCloseCode.GOING_AWAY


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("klines?symbol=BTCUSDT&interval=7m", 400, -1120),
        ("klines?symbol=BTCUSDT", 400, -1102),
        ("klines?symbol=BTCUSDT&interval=1m&limit=x", 400, -1100),
        ("klines?symbol=BTCUSDT&interval=1m&limit=0", 400, -1100),
        ("klines?symbol=BTCUSDT&interval=1m&startTime=-5", 400, -1100),
        ("trades?symbol=DOGEUSDT", 400, -1121),
        ("trades?symbol=<script>", 400, -1100),
        ("trades", 400, -1102),
        ("aggTrades?symbol=BTCUSDT&fromId=1&startTime=2", 400, -1128),
        ("ticker/price?symbols=nonsense", 400, -1100),
        ('ticker/price?symbols=["DOGEUSDT"]', 400, -1121),
        ("account", 401, -2014),
        ("nothing", 404, -1000),
    ],
)
async def test_a_wrong_request_gets_binances_code(simex: Simex, path: str, status: int, code: int) -> None:
    answer = await simex.get(path)

    assert (answer[0], answer[1]["code"]) == (status, code)


async def test_pages_of_history_fit_together(simex: Simex) -> None:
    simex.clock.advance(3 * 3_600_000)
    _, last = await simex.get("trades?symbol=BTCUSDT&limit=1000")
    _, by_id = await simex.get(f"historicalTrades?symbol=BTCUSDT&fromId={last[0]['id']}&limit=1000")
    begin, end = last[0]["time"], last[-1]["time"]
    _, by_time = await simex.get(f"aggTrades?symbol=BTCUSDT&startTime={begin}&endTime={end}&limit=1000")
    _, before = await simex.get(f"aggTrades?symbol=BTCUSDT&endTime={begin - 1}&limit=2")
    _, two = await simex.get('ticker/price?symbols=["ETHUSDT","BTCUSDT"]')
    _, klines = await simex.get(f"klines?symbol=BTCUSDT&interval=1m&endTime={end}&limit=3")

    assert last == by_id
    assert {row["a"] for row in by_time} >= {row["id"] for row in last}
    assert all(row["T"] < begin for row in before)
    assert [row["symbol"] for row in two] == ["ETHUSDT", "BTCUSDT"]
    assert klines[-1][0] <= end <= klines[-1][6]
    assert len(json.dumps(klines)) > 0
