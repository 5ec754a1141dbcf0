"""The whole mesh on real candles, 300 times as fast: what it stores, predicts, orders and owns is exact."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from levimesh.client import Client
from levimesh.marketdata.v1 import candle_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as market_pb
from levimesh.trading.v1 import order_pb2
from levimesh.trading.v1 import trading_service_pb2 as pb
from tests.embedded import Mesh, a_mesh

pytestmark = pytest.mark.realdata
SYMBOLS = {"BTC-USDT@simex": "binance_BTC-USDT_5m.parquet", "ETH-USDT@simex": "binance_ETH-USDT_5m.parquet"}


@pytest.fixture(scope="module")
def recorded() -> Path:
    """The folder of recorded candles."""
    root = os.environ.get("LEVIMESH_MARKETDATA")
    if not root or not Path(root, "ohlcv").is_dir():
        pytest.skip("set LEVIMESH_MARKETDATA to the folder of recorded market data")
    return Path(root, "ohlcv")


@pytest.fixture(scope="module")
def mesh(recorded: Path) -> Iterator[Mesh]:
    """A mesh that replays the recorded candles."""
    with a_mesh("--source", f"replay:{recorded}", "--speed", "300", MARKETDATA_HISTORY_5M_DAYS="120") as mesh:
        yield mesh


@pytest.fixture
async def client(mesh: Mesh) -> AsyncIterator[Client]:
    async with Client.connect(mesh.profile) as client:
        yield client


def rows(path: Path) -> dict[int, tuple[Decimal, ...]]:
    """Open, high, low, close and volume of each candle of the file by open time (milliseconds), in its own digits."""
    table = parquet.read_table(path).to_pydict()
    columns = [table[name] for name in ("open", "high", "low", "close", "volume")]
    values = zip(*columns, strict=True)
    return {int(ts): tuple(Decimal(repr(v)) for v in row) for ts, row in zip(table["ts"], values, strict=True)}


async def everything(client: Client) -> tuple[list[order_pb2.Fill], "pb.GetPortfolioResponse"]:
    """The portfolio, and all fills that led to it: read until nothing happened in between."""
    while True:
        fills = await client.trading.ListFills(pb.ListFillsRequest(page_size=1000))
        portfolio = await client.trading.GetPortfolio(pb.GetPortfolioRequest())
        if fills == await client.trading.ListFills(pb.ListFillsRequest(page_size=1000)):
            assert not fills.next_page_token
            return list(fills.fills), portfolio


async def test_real_candles_become_signals_fills_and_an_exact_portfolio(client: Client) -> None:
    signalled = asyncio.ensure_future(anext(client.signals()))
    filled = asyncio.ensure_future(_a_filled_order(client))
    async with asyncio.timeout(180):
        signal, order = await asyncio.gather(signalled, filled)
    assert signal.prediction.symbol in SYMBOLS
    assert order.prediction_id
    assert order.strategy == "signal-follower"

    fills, answer = await everything(client)
    portfolio = answer.portfolio
    cash, held = Decimal(portfolio.initial_cash.value), dict.fromkeys(SYMBOLS, Decimal(0))
    for fill in fills:
        sign = 1 if fill.side == order_pb2.SIDE_BUY else -1
        held[fill.symbol] += sign * Decimal(fill.quantity.value)
        cash -= sign * Decimal(fill.quantity.value) * Decimal(fill.price.value) + Decimal(fill.fee.value)
    assert fills
    assert cash == Decimal(portfolio.cash.value)
    positions = {each.symbol: each for each in portfolio.positions}
    assert {symbol: quantity for symbol, quantity in held.items() if quantity} == {
        symbol: Decimal(each.quantity.value) for symbol, each in positions.items() if Decimal(each.quantity.value)
    }
    worth = sum(Decimal(each.quantity.value) * Decimal(each.last_price.value) for each in positions.values())
    assert cash + worth == Decimal(portfolio.equity.value)


@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_the_candles_stored_are_the_files_rows(client: Client, recorded: Path, symbol: str) -> None:
    expected = rows(recorded / SYMBOLS[symbol])
    request = market_pb.GetCandlesRequest(symbol=symbol, interval=candle_pb2.INTERVAL_5M, page_size=10_000)
    newest = (await client.marketdata.GetCandles(request)).candles
    assert any(candle.origin == candle_pb2.CANDLE_ORIGIN_TRADES for candle in newest)
    times = [candle.open_time.ToMilliseconds() for candle in newest]
    assert times == list(range(times[0], times[-1] + 1, 300_000))
    for candle in newest:
        values = (candle.open, candle.high, candle.low, candle.close, candle.volume)
        moment = candle.open_time.ToDatetime(UTC)
        assert tuple(Decimal(value.value) for value in values) == expected[candle.open_time.ToMilliseconds()], moment


async def _a_filled_order(client: Client) -> order_pb2.Order:
    async for order in client.orders():
        if order.status == order_pb2.ORDER_STATUS_FILLED:
            return order
    raise AssertionError("the stream of orders ended")
