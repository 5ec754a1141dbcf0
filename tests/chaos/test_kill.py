"""kill -9 of any process: nothing that was acknowledged is lost, and the mesh becomes whole again.

How long that takes is measured in ``bench/recovery.py``. A service that notices the outage after the dead process is
back answers 503 for a second more, so calls here do what that answer asks for: they try again.
"""

import json
import os
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.embedded import Mesh, a_mesh

SYMBOL = "BTC-USDT@simex"
JSON = ("-H", "content-type: application/json")
PROCESSES = ("postgres", "redis", "simex", "auth", "auth-edge", "marketdata", "prediction", "trading", "gateway")


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    """A mesh on the seeded market of simex, with two weeks of history."""
    with a_mesh(MARKETDATA_HISTORY_5M_DAYS="14", SIMEX_HISTORY_DAYS="15") as mesh:
        yield mesh


def ask(mesh: Mesh, path: str, *arguments: str, token: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(mesh.curl(path, *arguments, token=token, patient=True))
    assert "code" not in answer, answer
    return answer


def candles(mesh: Mesh, token: str) -> list[dict[str, Any]]:
    path = f"/v1/symbols/{SYMBOL}/candles?interval=INTERVAL_5M&page_size=10"
    found: list[dict[str, Any]] = ask(mesh, path, token=token)["candles"]
    return found


@pytest.mark.parametrize("process", PROCESSES)
def test_the_mesh_survives_the_death_of(mesh: Mesh, process: str) -> None:
    token = mesh.token()
    body = {
        "client_order_id": f"chaos-{uuid.uuid4()}",
        "symbol": SYMBOL,
        "side": "SIDE_BUY",
        "type": "ORDER_TYPE_MARKET",
        "quantity": {"value": "0.001"},
    }
    order = ask(mesh, "/v1/orders", *JSON, "-d", json.dumps(body), token=token)["order"]
    stored = candles(mesh, token)
    before = mesh.pid_of(process)

    os.kill(before, signal.SIGKILL)

    mesh.wait_until_whole()
    assert mesh.pid_of(process) != before
    assert ask(mesh, f"/v1/orders/{order['order_id']}", token=token)["order"] == order
    assert [candle for candle in candles(mesh, token) if candle in stored][-9:] == stored[-9:]
    assert ask(mesh, "/v1/orders", *JSON, "-d", json.dumps(body), token=token)["order"] == order
