"""Tapes of recorded candles or trades, read from Parquet files."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from services.simex.columns import Columns, Ints, Trades
from services.simex.instrument import Instrument
from services.simex.intervals import INTERVALS_MS
from services.simex.synthesis import MINUTE_MS, Bars, Floats, needed_prints
from services.simex.tape import CandleTape, Tape
from services.simex.trade_tape import TradeTape

_CANDLE_FILE = re.compile(r"^[a-z0-9]+_(?P<base>[A-Z0-9]+)-(?P<quote>[A-Z0-9]+)_(?P<interval>\d+[smhd])\.parquet$")
_TRADE_FILE = re.compile(r"^[a-z0-9]+_(?P<base>[A-Z0-9]+)-(?P<quote>[A-Z0-9]+)_(\w+_)?trades\.parquet$")
_CANDLE_COLUMNS = ("open", "high", "low", "close", "volume")
_PRINTS_PER_MINUTE = 6.0
_MOST_DECIMALS = 12

_log = logging.getLogger(__name__)


class ReplayError(Exception):
    """The files cannot be replayed; the message names the file and says what to do."""


@dataclass(frozen=True)
class _File:
    """A file whose name says what is in it; ``interval_ms`` is 0 for trades."""

    path: Path
    base: str
    quote: str
    interval_ms: int = 0


class RecordedBars:
    """Bars that are all known from the start."""

    def __init__(self, bars: Bars, base_ms: int) -> None:
        self.base_ms = base_ms
        self.start_ms = int(bars.open_ms[0])
        self.end_ms: int | None = int(bars.open_ms[-1]) + base_ms
        self._bars = bars

    def until(self, end_ms: int) -> Bars:  # noqa: ARG002 - a recording is complete whatever is asked
        """All bars."""
        return self._bars


def replay_files(path: Path) -> list[Path]:
    """The files that a replay of ``path`` (a folder or one file) uses; raises ReplayError when there are none."""
    return [file.path for file in _chosen(path)]


def read_replay(path: Path, seed: int) -> list[Tape]:
    """The tapes of the files in ``path``: of its finest candles, or of its trades when it has no candles."""
    files = _chosen(path)
    _log.info("replaying %s", ", ".join(file.path.name for file in files))
    return [_candle_tape(file, seed) if file.interval_ms else _trade_tape(file) for file in files]


def _chosen(path: Path) -> list[_File]:
    if not path.exists():
        raise ReplayError(f"{path} does not exist: set SIMEX_REPLAY_DIR to a folder of Parquet files")
    paths = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    named = [file for file in map(_named, paths) if file is not None]
    candles = [file for file in named if file.interval_ms]
    finest_ms = min((file.interval_ms for file in candles), default=0)
    # Backwards, so that of several files of one symbol the first by name is taken.
    chosen = {file.base + file.quote: file for file in reversed(named) if file.interval_ms == finest_ms}
    if not chosen:
        raise ReplayError(
            f"{path} holds no candles or trades to replay: name files <exchange>_<BASE>-<QUOTE>_<interval>.parquet, "
            "for example binance_BTC-USDT_5m.parquet, or <exchange>_<BASE>-<QUOTE>_trades.parquet"
        )
    return [chosen[symbol] for symbol in sorted(chosen)]


def _named(path: Path) -> _File | None:
    match = _CANDLE_FILE.match(path.name)
    if match is not None and match["interval"] in INTERVALS_MS:
        return _File(path, match["base"], match["quote"], INTERVALS_MS[match["interval"]])
    match = _TRADE_FILE.match(path.name)
    return None if match is None else _File(path, match["base"], match["quote"])


def _candle_tape(file: _File, seed: int) -> CandleTape:
    table = _read(file.path, ("ts", *_CANDLE_COLUMNS))
    base_ms = file.interval_ms
    ts = _integers(table, "ts", file.path)
    values = {name: _floats(table, name, file.path) for name in _CANDLE_COLUMNS}
    if (np.diff(ts) <= 0).any() or (ts % base_ms).any():
        raise ReplayError(f"{file.path}: ts must rise and be whole multiples of {base_ms} (milliseconds, UTC)")
    prices = np.stack([values[name] for name in _CANDLE_COLUMNS[:4]])
    price_decimals = _decimals(prices, file.path, "prices")
    candles = _PriceColumns(ts, *_whole(prices, price_decimals))
    candles.check(file.path)
    needed = needed_prints(candles.open, candles.high, candles.low, candles.close)
    quantity_decimals = _decimals(values["volume"], file.path, "volume")
    volume = _whole(values["volume"], quantity_decimals)
    if ((volume == 0) & (needed > 1)).any():
        raise ReplayError(f"{file.path}: a bar moves without volume, so no trades can make it: leave such bars out")
    traded = volume > 0
    while (volume < needed)[traded].any():
        # A bar with fewer smallest quantities than its prices need trades: quantities get another decimal place.
        quantity_decimals, volume = quantity_decimals + 1, volume * 10
    instrument = Instrument(file.base, file.quote, price_decimals, quantity_decimals)
    bars = _bars(candles[traded], volume[traded], needed[traded], base_ms, (seed, crc32(instrument.symbol.encode()), 3))
    return CandleTape(instrument, RecordedBars(bars, base_ms), seed)


@dataclass(frozen=True)
class _PriceColumns(Columns):
    open_ms: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints

    def check(self, path: Path) -> None:
        """Raise ReplayError unless low <= open, close <= high and all are positive."""
        top, bottom = np.maximum(self.open, self.close), np.minimum(self.open, self.close)
        wrong = np.flatnonzero((self.low <= 0) | (self.low > bottom) | (self.high < top))
        if len(wrong):
            raise ReplayError(
                f"{path}: the bar with ts {self.open_ms[wrong[0]]} has impossible prices: "
                "0 < low <= open, close <= high must hold"
            )

    def __getitem__(self, rows: slice | npt.NDArray[np.bool_]) -> "_PriceColumns":
        return _PriceColumns(self.open_ms[rows], self.open[rows], self.high[rows], self.low[rows], self.close[rows])


def _bars(candles: _PriceColumns, volume: Ints, needed: Ints, base_ms: int, seed: tuple[int, ...]) -> Bars:
    variety = np.random.default_rng(seed).uniform(0.67, 1.33, len(candles))
    aim = np.rint(np.maximum(1, base_ms / MINUTE_MS) * _PRINTS_PER_MINUTE * variety).astype(np.int64)
    prints = np.minimum(np.maximum(aim, needed), volume)
    position = np.cumsum(prints) - prints
    return Bars(
        candles.open_ms, candles.open, candles.high, candles.low, candles.close, volume, prints, prints, position
    )


def _trade_tape(file: _File) -> TradeTape:
    path = file.path
    table = _read(path, ("ts", "trade_id", "price", "qty", "side"))
    ts, ids, sides = (_integers(table, name, path) for name in ("ts", "trade_id", "side"))
    price, quantity = (_floats(table, name, path) for name in ("price", "qty"))
    if (np.diff(ts) < 0).any() or (np.diff(ids) <= 0).any():
        raise ReplayError(f"{path}: sort the trades by trade_id; ts must not fall and no id may repeat")
    if not np.isin(sides, (-1, 1)).all() or (price <= 0).any() or (quantity <= 0).any():
        raise ReplayError(f"{path}: price and qty must be positive, and side 1 (taker buys) or -1 (taker sells)")
    price_decimals, quantity_decimals = _decimals(price, path, "price"), _decimals(quantity, path, "qty")
    instrument = Instrument(file.base, file.quote, price_decimals, quantity_decimals)
    trades = Trades(ids, ts, _whole(price, price_decimals), _whole(quantity, quantity_decimals), sides > 0)
    return TradeTape(instrument, trades)


def _read(path: Path, columns: tuple[str, ...]) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ReplayError(f"{path} cannot be read as Parquet: write it again or remove it ({error})") from error
    if missing := [name for name in columns if name not in table.column_names]:
        raise ReplayError(f"{path} lacks the columns {', '.join(missing)}: it needs {', '.join(columns)}")
    if not table.num_rows:
        raise ReplayError(f"{path} has no rows: remove it")
    return table


def _integers(table: pa.Table, name: str, path: Path) -> Ints:
    if not pa.types.is_integer(table[name].type):
        raise ReplayError(f"{path}: the column {name} must hold integers, not {table[name].type}")
    return np.asarray(table[name].to_numpy(), np.int64)


def _floats(table: pa.Table, name: str, path: Path) -> Floats:
    kind = table[name].type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise ReplayError(f"{path}: the column {name} must hold numbers, not {kind}")
    values = np.asarray(table[name].to_numpy(), np.float64)
    if not np.isfinite(values).all() or (values < 0).any():
        raise ReplayError(f"{path}: the column {name} must hold finite numbers that are not negative")
    return values


def _decimals(values: Floats, path: Path, name: str) -> int:
    """The fewest decimal places that write every value as its shortest representation does."""
    for decimals in range(_MOST_DECIMALS + 1):
        # A whole number below 2^53 divided by an exact power of ten is the float nearest to that decimal.
        scaled = np.rint(values * 10.0**decimals)
        if (scaled / 10.0**decimals == values).all() and scaled.max() < 2**53:
            return decimals
    raise ReplayError(f"{path}: {name} need more than {_MOST_DECIMALS} decimal places: round them")


def _whole(values: Floats, decimals: int) -> Ints:
    return np.asarray(np.rint(values * 10.0**decimals), np.int64)
