"""Recorded trades, which simex replays when a test says so, and what has to come of them."""

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from levimesh.marketdata.v1 import candle_pb2, trade_pb2
from services.runtime import decimals, timestamps
from services.simex.exchange import open_state
from services.simex.settings import SimexSettings

_SYMBOLS = ("BTC-USDT", "ETH-USDT")
_MINUTE_MS = 60_000
_QUIET = timedelta(hours=2)
"""How long by its clock the market is open before what was recorded begins: the mesh comes up meanwhile."""

Row = tuple[str, Decimal, Decimal, "trade_pb2.TakerSide.ValueType", datetime]
"""Id, price, quantity, taker's side and time of a trade."""
Bar = tuple[datetime, Decimal, Decimal, Decimal, Decimal, Decimal]
"""Open time, open, high, low, close and volume of a candle."""


def row_of(trade: trade_pb2.Trade) -> Row:
    """What a trade and a row of the file have to agree in."""
    price, quantity = decimals.from_pb(trade.price), decimals.from_pb(trade.quantity)
    return trade.trade_id, price, quantity, trade.taker_side, timestamps.from_pb(trade.trade_time)


def bar_of(candle: candle_pb2.Candle) -> Bar:
    """What a candle and what the file sums up to have to agree in."""
    first, high, low, last, volume = map(
        decimals.from_pb, (candle.open, candle.high, candle.low, candle.close, candle.volume)
    )
    return timestamps.from_pb(candle.open_time), first, high, low, last, volume


@dataclass(frozen=True)
class Recording:
    """A folder that simex replays: the recorded trades, and one of each symbol long before them.

    That one keeps the market open while a mesh comes up, and has happened before anybody looks.
    """

    folder: Path
    rows: Mapping[str, Sequence[Row]]
    """What was recorded of each symbol, by its id in the mesh."""
    start: datetime
    """Just before the first of the recorded trades."""

    @property
    def opening(self) -> datetime:
        """Where the exchange's clock begins."""
        return self.start - _QUIET

    def bars(self, symbol: str) -> list[Bar]:
        """The one-minute candles that the recorded trades sum up to."""
        return [_bar(list(rows)) for _, rows in groupby(self.rows[symbol], key=lambda row: _minute(row[4]))]

    def play(self, simex: int, state: Path, since: datetime | None = None) -> None:
        """Set the clock of the exchange, to ``start`` or to ``since``: the process ``simex`` dies, and finds it so.

        ``state`` is where it keeps its clock.
        """
        settings = SimexSettings(replay_dir=self.folder, replay_start=self.opening, state_dir=state)
        os.kill(simex, signal.SIGSTOP)  # it must not write down its own time after this
        open_state(settings).write("clock_ms", int((since or self.start).timestamp() * 1000))
        os.kill(simex, signal.SIGKILL)


def a_recording(folder: Path) -> Recording:
    """The trades in ``LEVIMESH_MARKETDATA``, to be replayed from ``folder``; skips the test where there are none."""
    root = os.environ.get("LEVIMESH_MARKETDATA")
    if not root or not Path(root, "trades").is_dir():
        pytest.skip("set LEVIMESH_MARKETDATA to the folder of recorded market data, which has trades")
    tables = {name: parquet.read_table(_file(Path(root, "trades"), name)) for name in _SYMBOLS}
    start = _moment(min(table["ts"][0].as_py() for table in tables.values()) - 1)
    for name, table in tables.items():
        opening = int((start - _QUIET).timestamp() * 1000)
        first = {**table.slice(0, 1).to_pylist()[0], "ts": opening}
        first["trade_id"] -= 1
        before = pa.Table.from_pylist([first], schema=table.schema)
        parquet.write_table(pa.concat_tables([before, table]), _file(folder, name))
    return Recording(folder, {f"{name}@simex": _rows(table) for name, table in tables.items()}, start)


def _file(folder: Path, name: str) -> Path:
    return folder / f"binance_{name}_20240808_trades.parquet"


def _rows(table: pa.Table) -> list[Row]:
    return [
        (
            str(row["trade_id"]),
            Decimal(repr(row["price"])),
            Decimal(repr(row["qty"])),
            trade_pb2.TAKER_SIDE_BUY if row["side"] > 0 else trade_pb2.TAKER_SIDE_SELL,
            _moment(row["ts"]),
        )
        for row in table.to_pylist()
    ]


def _bar(rows: Sequence[Row]) -> Bar:
    prices = [price for _, price, _, _, _ in rows]
    volume = sum((quantity for _, _, quantity, _, _ in rows), Decimal(0))
    return _minute(rows[0][4]), prices[0], max(prices), min(prices), prices[-1], volume


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
