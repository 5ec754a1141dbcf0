"""Parquet and CSV files of market data: which there are, and their rows with exact numbers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pa_compute
import pyarrow.csv as pa_csv
import pyarrow.dataset as pa_dataset

from services.marketdata.adapters.milliseconds import from_milliseconds
from services.marketdata.domain import market
from services.marketdata.source_settings import INTERVALS

TRADES, DEPTH = "trades", "depth"
_NAME = re.compile(
    r"(?P<exchange>[a-z0-9]+)_(?P<base>[A-Z0-9.]+)-(?P<quote>[A-Z0-9]+)_(?:[^_]+_)*"
    rf"(?P<content>{TRADES}|{DEPTH}|{'|'.join(INTERVALS)})\.(?P<format>parquet|csv)"
)
_COLUMNS = {
    TRADES: ("ts", "trade_id", "price", "qty", "side"),
    DEPTH: ("ts", "side", "price", "qty", "type", "update_id"),
}
_CANDLE_COLUMNS = ("ts", "open", "high", "low", "close", "volume")
_TEXT = ("price", "qty", "open", "high", "low", "close", "volume", "trade_id")
_BATCH_ROWS = 4_096

Row = Mapping[str, Any]


@dataclass(frozen=True)
class DataFile:
    """A file of one market; its name tells what is in it."""

    path: Path
    exchange: str
    pair: str
    """The market, such as ``BTC-USDT``."""
    content: str
    """``trades``, ``depth``, or the interval of candles."""

    @property
    def columns(self) -> Sequence[str]:
        """The columns that it has to have."""
        return _COLUMNS.get(self.content, _CANDLE_COLUMNS)

    def rows(self, since_ms: int | None = None) -> Iterator[Row]:
        """Its rows in order, those with a ``ts`` of ``since_ms`` or later where that is given.

        Raises OSError and ValueError when it cannot be read.
        """
        dataset = pa_dataset.dataset(self.path, format=self._format())
        if missing := [name for name in self.columns if name not in dataset.schema.names]:
            raise ValueError(f"{self.path.name} lacks the columns {', '.join(missing)}")
        optional = [name for name in ("recv_ns",) if name in dataset.schema.names]
        later = None if since_ms is None else pa_dataset.field("ts") >= since_ms
        batches = dataset.to_batches(
            columns=[*self.columns, *optional], filter=later, batch_size=_BATCH_ROWS, use_threads=False
        )
        for batch in batches:
            yield from batch.to_pylist()

    def span(self) -> tuple[datetime, datetime]:
        """The times of its first and its last row; of candles, when the first opens and the last ends.

        Raises OSError, and ValueError when there are no rows.
        """
        times = pa_dataset.dataset(self.path, format=self._format()).to_table(columns=["ts"])["ts"]
        found = pa_compute.min_max(pa_compute.filter(times, pa_compute.greater(times, 0))).as_py()
        if found["min"] is None:
            raise ValueError(f"{self.path.name} has no rows")
        interval = INTERVALS.get(self.content)
        last = from_milliseconds(found["max"])
        return from_milliseconds(found["min"]), last if interval is None else last + interval.length

    def _format(self) -> Any:
        if self.path.suffix == ".parquet":
            return "parquet"
        # Numbers stay as they are written.
        types = {name: pa.string() for name in _TEXT if name in self.columns}
        whole = {name: pa.int64() for name in self.columns if name not in types}
        return pa_dataset.CsvFileFormat(convert_options=pa_csv.ConvertOptions(column_types={**types, **whole}))


def data_files(path: Path, exchange: str, symbols: Sequence[str]) -> list[DataFile]:
    """The files at ``path`` that are named like market data, by name; of this exchange and these markets, if given."""
    candidates = [path] if path.is_file() else sorted(path.rglob("*"))
    found = []
    for candidate in candidates:
        if (match := _NAME.fullmatch(candidate.name)) and candidate.is_file():
            pair = f"{match['base']}-{match['quote']}"
            if exchange in ("", match["exchange"]) and (not symbols or pair in symbols):
                found.append(DataFile(candidate, match["exchange"], pair, match["content"]))
    return found


def exact(number: Any) -> Decimal:
    """The number that is written in a column: a float is the shortest number that is stored as it."""
    if number is None:
        raise ValueError("a number is missing")
    return market.exact(number if isinstance(number, Decimal) else Decimal(str(number)))


def finest_step(numbers: Iterator[Any]) -> Decimal:
    """The smallest difference that ``numbers`` are written with; what is no number tells nothing."""
    finest = 0
    for number in numbers:
        with suppress(ArithmeticError, ValueError):
            exponent = exact(number).as_tuple().exponent
            finest = min(finest, exponent) if isinstance(exponent, int) else finest
    return Decimal(1).scaleb(finest)
