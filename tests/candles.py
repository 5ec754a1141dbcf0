"""Histories of five-minute candles for the tests."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from services.prediction.domain.market import INTERVAL_MS, Bar, to_ms

START_MS = to_ms(datetime(2024, 1, 1, tzinfo=UTC))


def a_bar(number: int = 0, close: float = 100.0, **parts: float) -> Bar:
    """The candle of one interval, without a range unless ``parts`` give it one."""
    prices = {"open": close, "high": close, "low": close, "volume": 1.0} | parts
    return Bar(START_MS + number * INTERVAL_MS, close=close, **prices)


def bars_of(closes: Sequence[float], volumes: Sequence[float] | None = None, first: int = 0) -> list[Bar]:
    """Candles that open at the close before them and reach a little beyond both."""
    before = [closes[0], *closes[:-1]]
    return [
        a_bar(
            first + number,
            close=close,
            open=opened,
            high=max(opened, close) * 1.0005,
            low=min(opened, close) * 0.9995,
            volume=1.0 if volumes is None else volumes[number],
        )
        for number, (opened, close) in enumerate(zip(before, closes, strict=True))
    ]


def a_walk(count: int, seed: int = 1, first: int = 0) -> list[Bar]:
    """A random walk with random volumes."""
    random = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(random.normal(0, 0.002, count)))
    return bars_of(closes.tolist(), random.lognormal(2, 1, count).tolist(), first)


def recorded(asset: str) -> list[Bar]:
    """The recorded candles of BTC or ETH against USDT; skips the test, and says so, where there are none."""
    folder = os.environ.get("LEVIMESH_MARKETDATA")
    file = Path(folder or "/nowhere") / "ohlcv" / f"binance_{asset}-USDT_5m.parquet"
    if not file.exists():
        pytest.skip("LEVIMESH_MARKETDATA names no folder with recorded candles")
    columns = pq.read_table(file)
    names = ("ts", "open", "high", "low", "close", "volume")
    return [Bar(*row) for row in zip(*(columns[name].to_pylist() for name in names), strict=True)]
