"""Files as a source: their rows in order, their time, their end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.marketdata.adapters.file_source import FileSource, open_file_source
from services.marketdata.domain.book import BookDelta, BookSnapshot, Level
from services.marketdata.domain.market import Channel, Interval, TakerSide, Trade
from services.marketdata.domain.quarantine import Reason
from services.marketdata.domain.rules import Retention
from services.marketdata.domain.sequence import Break
from services.marketdata.ports.sources import SourceFinished, SourceUnavailable
from services.marketdata.source_settings import FileSettings
from tests.marketdata import RefusedRows
from tests.unit.marketdata.builders import NOON, at

KEPT = Retention(timedelta(days=36_500), timedelta(days=36_500))
NOON_MS = int(NOON.timestamp() * 1000)


def write(path: Path, **columns: list[Any]) -> None:
    table = pa.table(columns)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        rows = [",".join(columns), *(",".join(map(str, row.values())) for row in table.to_pylist())]
        path.write_text("\n".join(rows) + "\n")


def write_trades(folder: Path, count: int, pair: str = "BTC-USDT", kind: str = "parquet") -> None:
    numbers = range(count)
    write(
        folder / f"binance_{pair}_20240305_trades.{kind}",
        ts=[NOON_MS + 100 * number for number in numbers],
        trade_id=[1000 + number for number in numbers],
        price=[60_000.5 + number / 100 for number in numbers],
        qty=[0.00012] * count,
        side=[1 if number % 2 else -1 for number in numbers],
    )


@asynccontextmanager
async def opened(path: Path, refused: RefusedRows | None = None, **settings: Any) -> AsyncIterator[FileSource]:
    values = FileSettings(name="files", path=path, settle_seconds=0.1, **settings)
    async with open_file_source(values, refused or RefusedRows(), KEPT) as source:
        yield source


async def all_trades(source: FileSource) -> list[Trade]:
    (symbol, *_) = await source.symbols()
    read: list[Trade] = []
    with suppress(SourceFinished):
        while True:
            read += [step for step in await source.trades(symbol) if isinstance(step, Trade)]
    return read


@pytest.mark.parametrize("kind", ["parquet", "csv"])
async def test_trades_come_in_order_with_exact_numbers_until_the_end(tmp_path: Path, kind: str) -> None:
    write_trades(tmp_path, 2_500, kind=kind)
    async with opened(tmp_path) as source:
        (symbol,) = await source.symbols()
        assert (symbol.symbol, symbol.price_step, symbol.quantity_step) == (
            "BTC-USDT@files",
            Decimal("0.01"),
            Decimal("0.00001"),
        )
        assert source.channels == {Channel.TRADES}
        assert await source.now() == NOON
        trades = await all_trades(source)
        assert [trade.number for trade in trades] == list(range(1000, 3500))
        assert trades[1].price == Decimal("60000.51")
        assert {trade.quantity for trade in trades} == {Decimal("0.00012")}
        assert [trade.taker_side for trade in trades[:2]] == [TakerSide.SELL, TakerSide.BUY]
        assert await source.now() == trades[-1].trade_time
        with suppress(SourceFinished):
            while True:
                assert await source.now() == trades[-1].trade_time
                await asyncio.sleep(0.1)


async def test_the_clock_stands_where_the_slowest_reader_is(tmp_path: Path) -> None:
    write_trades(tmp_path, 2_500)
    write_trades(tmp_path, 2_500, "ETH-USDT")
    async with opened(tmp_path) as source:
        btc, eth = await source.symbols()
        await source.trades(btc)
        await source.trades(btc)
        assert await source.now() == NOON
        await source.trades(eth)
        assert await source.now() == at(99.9)


async def test_with_a_speed_rows_come_when_they_are_due(tmp_path: Path) -> None:
    write_trades(tmp_path, 100)
    async with opened(tmp_path, speed=50) as source:
        (symbol,) = await source.symbols()
        first = await source.trades(symbol)
        assert 0 < len(first) < 100
        told = await source.now()
        assert all(isinstance(step, Trade) and step.trade_time <= told for step in first)
        assert len(first) + len(await all_trades(source)) == 100


async def test_past_trades_are_told_by_pages_as_far_as_the_clock_has_come(tmp_path: Path) -> None:
    write_trades(tmp_path, 6_000)
    async with opened(tmp_path) as source:
        (symbol,) = await source.symbols()
        assert [trade.number for trade in await source.past_trades(symbol, None, NOON)] == [1000]
        live = await all_trades(source)
        page = await source.past_trades(symbol, None, at(50))
        assert (page[0].number, len(page)) == (1500, 5_000)
        rest = await source.past_trades(symbol, page[-1], NOON)
        assert [trade.number for trade in rest] == list(range(6500, 7000))
        assert not await source.past_trades(symbol, live[-1], NOON)


async def test_candles_are_there_when_time_has_reached_them(tmp_path: Path) -> None:
    opens = [NOON_MS + 300_000 * number for number in range(-3, 4)]
    prices = {name: [100.0] * 7 for name in ("open", "high", "low", "close")}
    write(tmp_path / "binance_BTC-USDT_5m.csv", ts=opens, **prices, volume=[1.5] * 7)
    write_trades(tmp_path, 1)
    async with opened(tmp_path) as source:
        (symbol,) = await source.symbols()
        assert source.intervals == {Interval.FIVE_MINUTES}
        candles = await source.candles(symbol, Interval.FIVE_MINUTES, at(-600))
        assert [candle.open_time for candle in candles] == [at(-600), at(-300), NOON]
        assert candles[0].volume == Decimal("1.5")
    (tmp_path / "binance_BTC-USDT_20240305_trades.parquet").unlink()
    async with opened(tmp_path) as source:
        (symbol,) = await source.symbols()
        assert len(await source.candles(symbol, Interval.FIVE_MINUTES, at(-600))) == 6
        assert await source.now() == at(1200)


async def test_a_book_begins_with_its_snapshot_and_what_the_snapshot_lacks_follows(tmp_path: Path) -> None:
    rows = [  # ts, side, price, qty, type, update_id
        (NOON_MS, 1, 99.0, 1.0, 1, 10),
        (NOON_MS + 100, 1, 98.5, 2.0, 1, 13),
        (NOON_MS + 100, -1, 101.0, 0.0, 1, 13),
        (0, 1, 98.0, 5.0, 2, 11),
        (0, 1, 99.0, 1.0, 2, 11),
        (0, -1, 102.0, 4.0, 2, 11),
        (0, -1, 101.0, 3.0, 2, 11),
        (NOON_MS + 200, 1, 99.0, 0.0, 1, 20),
    ]
    names = ("ts", "side", "price", "qty", "type", "update_id")
    columns = {name: [row[index] for row in rows] for index, name in enumerate(names)}
    write(tmp_path / "binance_BTC-USDT_20240305_depth.parquet", **columns)
    async with opened(tmp_path, book_depth=10) as source:
        (symbol,) = await source.symbols()
        assert symbol.book_depth == 10
        assert source.channels == {Channel.BOOKS}
        changes = await source.book(symbol)
        snapshot, first, second = changes
        assert isinstance(snapshot, BookSnapshot)
        assert (snapshot.update_id, snapshot.bids[0].price, snapshot.asks[0].price) == (11, Decimal(99), Decimal(101))
        assert isinstance(first, BookDelta)
        assert isinstance(second, BookDelta)
        assert (first.first_update_id, first.last_update_id) == (12, 13)
        assert (first.bids, first.asks) == (
            (Level(Decimal("98.5"), Decimal(2)),),
            (Level(Decimal(101), Decimal(0)),),
        )
        assert (second.first_update_id, second.last_update_id) == (14, 20)
        with pytest.raises(SourceFinished):
            await source.book(symbol)
        await source.resync_book(symbol)
        assert isinstance((await source.book(symbol))[0], BookSnapshot)


async def test_a_row_that_breaks_a_rule_goes_to_quarantine_and_leaves_a_break(tmp_path: Path) -> None:
    path = tmp_path / "binance_BTC-USDT_trades.csv"
    path.write_text(f"ts,trade_id,price,qty,side\n{NOON_MS},1,10,1,1\n{NOON_MS},2,-10,1,1\n{NOON_MS},,x,1,1\n")
    refused = RefusedRows()
    async with opened(path, refused) as source:
        (symbol,) = await source.symbols()
        steps = await source.trades(symbol)
    assert [isinstance(step, Break) for step in steps] == [False, True, True]
    assert [(row.reason, row.source) for row in refused.rows] == [(Reason.PRICE, "files"), (Reason.MALFORMED, "files")]
    assert '"-10"' in refused.rows[0].raw


async def test_a_folder_without_files_and_a_file_without_columns_are_told_in_words(tmp_path: Path) -> None:
    async with opened(tmp_path) as source:
        with pytest.raises(SourceUnavailable, match="no files of market data; name them like"):
            await source.symbols()
    write(tmp_path / "binance_BTC-USDT_trades.parquet", ts=[NOON_MS], price=[1.0])
    async with opened(tmp_path) as source:
        with pytest.raises(SourceUnavailable, match="lacks the columns trade_id, qty, side"):
            await source.symbols()


async def test_files_of_two_exchanges_are_two_sources(tmp_path: Path) -> None:
    write_trades(tmp_path, 3)
    write(tmp_path / "okx_BTC-USDT_1d.parquet", ts=[0], open=[1.0], high=[1.0], low=[1.0], close=[1.0], volume=[1.0])
    async with opened(tmp_path) as source:
        with pytest.raises(SourceUnavailable, match="files of several exchanges"):
            await source.symbols()
    async with opened(tmp_path, exchange="binance") as source:
        assert len(await all_trades(source)) == 3
