"""The recorded files as a source: all of their trades, and books that equal the recorded best prices."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from services.marketdata.adapters.file_source import FileSource, open_file_source
from services.marketdata.domain.book import BookSnapshot
from services.marketdata.domain.market import Interval, Trade
from services.marketdata.domain.rules import Retention
from services.marketdata.ports.sources import SourceFinished
from services.marketdata.source_settings import FileSettings
from tests.marketdata import RefusedRows

FOLDER = os.environ.get("LEVIMESH_MARKETDATA")
MARKETDATA = Path(FOLDER or ".")
pytestmark = [pytest.mark.realdata, pytest.mark.skipif(FOLDER is None, reason="LEVIMESH_MARKETDATA names no folder")]

KEPT = Retention(timedelta(days=36_500), timedelta(days=36_500))


@asynccontextmanager
async def opened(path: Path, refused: RefusedRows, *symbols: str) -> AsyncIterator[FileSource]:
    settings = FileSettings(name="recorded", path=path, exchange="binance", symbols=symbols, book_depth=1000)
    async with open_file_source(settings, refused, KEPT) as source:
        yield source


async def test_every_recorded_trade_is_told_once_and_sums_up_to_the_recorded_candle() -> None:
    refused = RefusedRows()
    async with opened(MARKETDATA, refused, "BTC-USDT") as source:
        (symbol,) = await source.symbols()
        assert (symbol.price_step, symbol.quantity_step) == (Decimal("0.01"), Decimal("0.00001"))
        trades: list[Trade] = []
        with suppress(SourceFinished):
            while True:
                trades += [step for step in await source.trades(symbol) if isinstance(step, Trade)]
        opened_at = datetime(2024, 8, 8, 23, 55, tzinfo=UTC)
        (candle, *_) = await source.candles(symbol, Interval.FIVE_MINUTES, opened_at)
    assert not refused.rows
    assert len(trades) == len({trade.trade_id for trade in trades}) == 19_904
    inside = [trade for trade in trades if opened_at <= trade.trade_time < candle.close_time]
    assert sum(trade.quantity for trade in inside) == candle.volume
    assert (inside[0].price, inside[-1].price) == (candle.open, candle.close)
    assert (max(trade.price for trade in inside), min(trade.price for trade in inside)) == (candle.high, candle.low)


async def test_a_book_of_the_files_equals_the_recorded_best_prices_at_every_change() -> None:
    recorded = pq.read_table(MARKETDATA / "l2" / "binance_ETH-USDT_20240808_bbo.parquet").to_pylist()
    best = {row["update_id"]: (Decimal(str(row["bid"])), Decimal(str(row["ask"]))) for row in recorded}
    bids: dict[Decimal, Decimal] = {}
    asks: dict[Decimal, Decimal] = {}
    compared, newest = 0, 0
    async with opened(MARKETDATA / "l2", RefusedRows(), "ETH-USDT") as source:
        (symbol,) = await source.symbols()
        with suppress(SourceFinished):
            while True:
                for change in await source.book(symbol):
                    if isinstance(change, BookSnapshot):
                        bids, asks, newest = {}, {}, change.update_id
                    else:
                        assert change.first_update_id == newest + 1
                        newest = change.last_update_id
                    for side, levels in ((bids, change.bids), (asks, change.asks)):
                        side |= {level.price: level.quantity for level in levels}
                        for level in levels:
                            if not level.quantity:
                                del side[level.price]
                    if newest in best:
                        compared += 1
                        assert (max(bids), min(asks)) == best[newest]
    assert compared > 500
