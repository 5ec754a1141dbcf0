"""simex as a process: its start, its end, and what survives both."""

import asyncio
import hashlib
import hmac
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from services.stack.ports import find_free
from tests.unit.simex.builders import MINUTE_MS, MONDAY_MS, write_candles

KEY, SECRET = "a-key-of-the-tests", "a-secret-of-the-tests"
READY_SECONDS = 20


@asynccontextmanager
async def a_process(**settings: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """``python -m services.simex`` with these settings; killed at the end if it still runs."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIMEX_")}
    environment |= {f"SIMEX_{name.upper()}": str(value) for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.simex", env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def asked(http: aiohttp.ClientSession, method: str, url: str, **params: object) -> Any:
    """The answer to a signed request."""
    query = urlencode(params | {"timestamp": time.time_ns() // 1_000_000, "recvWindow": 60_000})
    signature = hmac.new(SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()
    async with http.request(
        method, f"{url}?{query}&signature={signature}", headers={"X-MBX-APIKEY": KEY}, raise_for_status=True
    ) as response:
        return await response.json()


async def got(http: aiohttp.ClientSession, url: str) -> Any:
    async with http.get(url, raise_for_status=True) as response:
        return await response.json()


async def ready(http: aiohttp.ClientSession, base: str) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            with suppress(aiohttp.ClientError):
                await got(http, f"{base}/ping")
                return
            await asyncio.sleep(0.05)


async def test_what_was_accepted_survives_a_kill(tmp_path: Path) -> None:
    [port] = find_free(1)
    base = f"http://127.0.0.1:{port}/api/v3"
    settings: dict[str, object] = {"port": port, "state_dir": tmp_path, "api_key": KEY, "api_secret": SECRET}
    async with aiohttp.ClientSession() as http:
        async with a_process(**settings) as process:
            await ready(http, base)
            order = {"symbol": "BTCUSDT", "side": "BUY"}
            filled = await asked(http, "POST", f"{base}/order", **order, type="MARKET", quantity="0.5")
            waiting = await asked(
                http, "POST", f"{base}/order", **order, type="LIMIT", timeInForce="GTC", quantity="0.1", price="30000"
            )
            before = await asked(http, "GET", f"{base}/account")
            [last] = await got(http, f"{base}/trades?symbol=BTCUSDT&limit=1")
            process.kill()
            await process.wait()
        async with a_process(**settings):
            await ready(http, base)
            after = await asked(http, "GET", f"{base}/account")
            fills = await asked(http, "GET", f"{base}/myTrades", symbol="BTCUSDT")
            [still] = await asked(http, "GET", f"{base}/openOrders")
            [again] = await got(http, f"{base}/historicalTrades?symbol=BTCUSDT&fromId={last['id']}&limit=1")

    assert after["balances"] == before["balances"]
    assert [fill["price"] for fill in fills] == [fill["price"] for fill in filled["fills"]]
    assert sum(Decimal(fill["qty"]) for fill in fills) == Decimal("0.5")
    assert (still["orderId"], still["status"]) == (waiting["orderId"], "NEW")
    assert again == last


async def test_a_replay_pauses_while_it_is_down(tmp_path: Path) -> None:
    bars = [(MONDAY_MS + n * MINUTE_MS, 10.0, 12.0, 9.0, 11.0, 500.0) for n in range(10_000)]
    write_candles(tmp_path / "x_A-B_1m.parquet", bars)
    [port] = find_free(1)
    base = f"http://127.0.0.1:{port}/api/v3"
    settings: dict[str, object] = {
        "port": port,
        "state_dir": tmp_path / "state",
        "replay_dir": tmp_path,
        "replay_start": "2024-06-11T00:00:00Z",
        "speed": 300,
    }
    async with aiohttp.ClientSession() as http:
        async with a_process(**settings) as process:
            await ready(http, base)
            before = (await got(http, f"{base}/time"))["serverTime"]
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
        async with a_process(**settings):
            await ready(http, base)
            after = (await got(http, f"{base}/time"))["serverTime"]

    assert before >= MONDAY_MS + 1440 * MINUTE_MS
    assert 0 <= after - before < 10 * 1000 * 300


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"replay_dir": "/nowhere"}, "/nowhere does not exist: set SIMEX_REPLAY_DIR"),
        ({"speed": "-1"}, "speed"),
        ({"symbols": '{"BTC/USDT": 1}'}, "symbols"),
    ],
)
async def test_wrong_settings_end_with_code_2_and_say_what_is_wrong(settings: dict[str, str], complaint: str) -> None:
    async with a_process(**settings) as process, asyncio.timeout(READY_SECONDS):
        _, output = await process.communicate()

    assert process.returncode == 2
    assert complaint in output.decode()


async def test_a_file_with_wrong_columns_and_a_busy_port_are_named(tmp_path: Path) -> None:
    write_candles(tmp_path / "x_A-B_1m.parquet", [(MONDAY_MS, 10.0, 12.0, 9.0, 13.0, 500.0)])
    async with a_process(replay_dir=tmp_path) as process, asyncio.timeout(READY_SECONDS):
        _, output = await process.communicate()
    assert process.returncode == 2
    assert f"{tmp_path}/x_A-B_1m.parquet: the bar with ts {MONDAY_MS} has impossible prices" in output.decode()

    [port] = find_free(1)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    async with server, a_process(port=port) as process, asyncio.timeout(READY_SECONDS):
        _, output = await process.communicate()
    assert process.returncode == 2
    assert str(port) in output.decode()
