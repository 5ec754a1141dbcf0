"""Candles from every recorded trade of Binance equal those that Binance published."""

import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import pyarrow.parquet as parquet
import pytest

from services.marketdata.domain.builder import CandleBuilder
from services.marketdata.domain.market import Candle, Interval, Origin, TakerSide, Trade
from services.marketdata.domain.roll_up import roll_up
from services.marketdata.domain.sequence import TradeSequence

pytestmark = pytest.mark.realdata

FIVE = Interval.FIVE_MINUTES
BARS = (datetime(2024, 8, 8, 23, 55, tzinfo=UTC), datetime(2024, 8, 9, 0, 0, tzinfo=UTC))


@pytest.fixture
def recorded() -> Path:
    """The folder of recorded market data."""
    root = os.environ.get("LEVIMESH_MARKETDATA")
    if not root or not Path(root, "trades").is_dir():
        pytest.skip("set LEVIMESH_MARKETDATA to the folder of recorded market data")
    return Path(root)


def trades_of(folder: Path, pair: str) -> list[Trade]:
    rows = parquet.read_table(folder / f"trades/binance_{pair}_20240808_trades.parquet").to_pylist()
    return [
        Trade(
            f"{pair}@binance",
            str(row["trade_id"]),
            Decimal(repr(row["price"])),
            Decimal(repr(row["qty"])),
            TakerSide.BUY if row["side"] > 0 else TakerSide.SELL,
            datetime.fromtimestamp(row["ts"] / 1000, UTC),
            datetime.fromtimestamp(row["recv_ns"] / 1e9, UTC),
        )
        for row in rows
    ]


def candles_of(folder: Path, pair: str) -> list[Candle]:
    table = parquet.read_table(folder / f"ohlcv/binance_{pair}_5m.parquet")
    candles = []
    for row in table.to_pylist():
        time = datetime.fromtimestamp(row["ts"] / 1000, UTC)
        if time in BARS:
            first, high, low, last, volume = (
                Decimal(repr(row[name])) for name in ("open", "high", "low", "close", "volume")
            )
            candles.append(Candle(f"{pair}@binance", FIVE, time, first, high, low, last, volume, Origin.SOURCE))
    return candles


@pytest.mark.parametrize("pair", ["BTC-USDT", "ETH-USDT"])
@pytest.mark.parametrize("disorder", [0, 300])
def test_every_recorded_trade_gives_the_published_candles_in_any_order_and_number(
    recorded: Path, pair: str, disorder: int
) -> None:
    first, *trades = trades_of(recorded, pair)
    random = Random(7)  # noqa: S311 - an order of arrival, not a secret
    places = {trade.trade_id: index + random.randint(0, disorder) for index, trade in enumerate(trades)}
    arrived = sorted(trades + random.choices(trades, k=1000 if disorder else 0), key=lambda t: places[t.trade_id])

    sequence, builder = TradeSequence(), CandleBuilder(FIVE)
    candles = builder.add(sequence.add([first])).candles
    for trade in arrived:
        candles += builder.add(sequence.add([trade])).candles
    candles += builder.close(BARS[-1] + timedelta(minutes=5)).candles

    assert not sequence.waits
    assert candles == candles_of(recorded, pair)
    assert [candle.open_time for candle in candles] == list(BARS)


@pytest.mark.parametrize("pair", ["BTC-USDT", "ETH-USDT"])
def test_short_candles_of_every_recorded_trade_add_up_to_the_published_ones(recorded: Path, pair: str) -> None:
    first, *trades = trades_of(recorded, pair)
    published = {candle.open_time: candle for candle in candles_of(recorded, pair)}
    for interval in (Interval.ONE_SECOND, Interval.FIVE_SECONDS, Interval.ONE_MINUTE):
        sequence, builder = TradeSequence(), CandleBuilder(interval)
        candles = builder.add(sequence.add([first])).candles
        candles += builder.add(sequence.add(trades)).candles
        candles += builder.close(BARS[-1] + FIVE.length).candles
        for open_time, candle in published.items():
            parts = [part for part in candles if FIVE.floor(part.open_time) == open_time]
            assert len(parts) == FIVE.value // interval.value
            assert roll_up(parts, FIVE) == [candle]


@pytest.mark.parametrize("pair", ["BTC-USDT", "ETH-USDT"])
def test_published_five_minutes_add_up_to_the_published_hours(recorded: Path, pair: str) -> None:
    parts, hours = (published_candles(recorded, pair, name, interval) for name, interval in FILES.items())
    rolled_up = roll_up(parts, Interval.ONE_HOUR)
    over = [hour for hour in hours if hour.close_time <= parts[-1].close_time]
    assert len(over) > 5_000
    assert rolled_up == over

    quarters = roll_up(parts, Interval.FIFTEEN_MINUTES)
    assert roll_up(quarters, Interval.ONE_HOUR) == over
    assert roll_up(hours, Interval.ONE_DAY) == roll_up(parts, Interval.ONE_DAY)
    assert roll_up(hours, Interval.FOUR_HOURS) == roll_up(parts, Interval.FOUR_HOURS)


FILES = {"5m": FIVE, "1h": Interval.ONE_HOUR}


def published_candles(folder: Path, pair: str, name: str, interval: Interval) -> list[Candle]:
    """The candles of a recorded file."""
    columns = parquet.read_table(folder / f"ohlcv/binance_{pair}_{name}.parquet").to_pydict()
    rows = zip(*(columns[field] for field in ("ts", "open", "high", "low", "close", "volume")), strict=True)
    candles = []
    for time, *numbers in rows:
        first, high, low, last, volume = (Decimal(repr(number)) for number in numbers)
        opened = datetime.fromtimestamp(time / 1000, UTC)
        candles.append(Candle(f"{pair}@binance", interval, opened, first, high, low, last, volume, Origin.SOURCE))
    return candles
