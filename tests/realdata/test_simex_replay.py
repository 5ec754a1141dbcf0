"""Real candles and trades of Binance, replayed."""

import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import aiohttp
import pyarrow.parquet as pq
import pytest

from services.simex.columns import Candles
from services.simex.market import Market
from services.simex.replay import read_replay
from services.simex.server import open_simex
from services.simex.settings import SimexSettings
from tests.unit.simex.builders import HandClock

pytestmark = pytest.mark.realdata

Row = tuple[int, tuple[Decimal, ...]]
"""Opening time; open, high, low, close and volume."""

FIVE_MS = 300_000
LATE_MS = 1_800_000_000_000
SYMBOLS = ("BTC-USDT", "ETH-USDT")


@pytest.fixture(scope="module")
def data() -> Path:
    """The recorded market data."""
    folder = os.environ.get("LEVIMESH_MARKETDATA")
    if not folder:
        pytest.skip("LEVIMESH_MARKETDATA does not name the folder of recorded market data")
    return Path(folder)


@pytest.fixture(scope="module")
def market(data: Path) -> Market:
    return Market(read_replay(data / "ohlcv", 7), HandClock(LATE_MS))


def recorded(path: Path) -> Iterator[Row]:
    """The rows of a candle file, amounts as the shortest decimals."""
    table = pq.read_table(path)
    columns = [table[name].to_pylist() for name in ("ts", "open", "high", "low", "close", "volume")]
    for ts, *values in zip(*columns, strict=True):
        yield ts, tuple(Decimal(repr(value)) for value in values)


def told(market: Market, symbol: str, candles: Candles) -> list[Row]:
    """The rows of ``candles`` of a symbol."""
    instrument = market.listings[symbol].instrument
    prices = (candles.open, candles.high, candles.low, candles.close)
    amounts = [[instrument.price(ticks) for ticks in column.tolist()] for column in prices]
    amounts += [[instrument.quantity(steps) for steps in candles.volume.tolist()]]
    return list(zip(candles.open_ms.tolist(), zip(*amounts, strict=True), strict=True))


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_candle_of_the_file_is_served_exactly(market: Market, data: Path, symbol: str) -> None:
    candles = market.listings[symbol.replace("-", "")].klines(FIVE_MS, 0, LATE_MS)

    assert told(market, symbol.replace("-", ""), candles) == list(recorded(data / f"ohlcv/binance_{symbol}_5m.parquet"))


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_hourly_candles_are_those_that_the_exchange_recorded(market: Market, data: Path, symbol: str) -> None:
    listing = market.listings[symbol.replace("-", "")]
    rows = list(recorded(data / f"ohlcv/binance_{symbol}_1h.parquet"))

    candles = listing.klines(3_600_000, 0, LATE_MS)[: len(rows)]

    assert told(market, symbol.replace("-", ""), candles) == rows


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_trades_of_a_day_sum_to_the_candles_of_the_file(market: Market, data: Path, symbol: str) -> None:
    listing = market.listings[symbol.replace("-", "")]
    rows = list(recorded(data / f"ohlcv/binance_{symbol}_5m.parquet"))[40_000:40_288]
    start_ms = rows[0][0]

    trades = listing.trades(start_ms, start_ms + 288 * FIVE_MS)

    candles = Candles.of_trades(trades).grouped(FIVE_MS)
    assert told(market, symbol.replace("-", ""), candles) == rows
    assert 288 * 20 <= len(trades) <= 288 * 40
    assert len({time // 60_000 for time in trades.times_ms.tolist()}) == 1440


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_recorded_trades_make_the_recorded_candles(data: Path, symbol: str) -> None:
    market = Market(read_replay(data / "trades", 7), HandClock(LATE_MS))
    name = symbol.replace("-", "")
    first_ms = 1_723_161_300_000  # 2024-08-08 23:55, the first of two bars that the trades cover wholly

    candles = market.listings[name].klines(FIVE_MS, first_ms, first_ms + 2 * FIVE_MS)

    rows = {row[0]: row for row in recorded(data / f"ohlcv/binance_{symbol}_5m.parquet")}
    assert told(market, name, candles) == [rows[first_ms], rows[first_ms + FIVE_MS]]


async def test_a_replay_serves_its_history_by_rest_and_nothing_of_its_future(data: Path) -> None:
    begin_ms = 1_720_000_200_000
    rows = [row for row in recorded(data / "ohlcv/binance_BTC-USDT_5m.parquet") if row[0] < begin_ms]
    settings = SimexSettings(port=0, replay_dir=data / "ohlcv")
    served: list[Row] = []
    async with open_simex(settings, HandClock(begin_ms - 1)) as url, aiohttp.ClientSession() as http:
        start_ms = rows[-6000][0]
        while True:
            query = f"symbol=BTCUSDT&interval=5m&limit=1000&startTime={start_ms}"
            async with http.get(f"{url}/api/v3/klines?{query}") as response:
                page = await response.json()
            if not page:
                break
            served += [(row[0], tuple(map(Decimal, row[1:6]))) for row in page]
            start_ms = page[-1][0] + FIVE_MS

    assert served == rows[-6000:]
