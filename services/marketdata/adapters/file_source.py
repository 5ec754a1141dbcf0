"""Parquet and CSV files as a source whose clock is the time in them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from services.marketdata.adapters.file_books import book_changes
from services.marketdata.adapters.file_replay import FileReplay, Item
from services.marketdata.adapters.file_rows import DEPTH, TRADES, DataFile, Row, data_files, exact, finest_step
from services.marketdata.adapters.inspection import Inspection
from services.marketdata.adapters.milliseconds import from_milliseconds, to_milliseconds
from services.marketdata.domain.book import BookChange
from services.marketdata.domain.market import (
    AssetType,
    Candle,
    Channel,
    Interval,
    Origin,
    SourceKind,
    Symbol,
    TakerSide,
    Trade,
)
from services.marketdata.domain.rules import Retention
from services.marketdata.domain.sequence import Break, Step
from services.marketdata.ports.quarantine import Quarantine
from services.marketdata.ports.sources import SourceFinished, SourceUnavailable
from services.marketdata.source_settings import INTERVALS, FileSettings
from services.runtime.clock import Clock, utc_now

_CANDLES_A_PAGE = 1_000
_TRADES_A_PAGE = 5_000
_LOOKED_AT = 2_000
"""So many rows tell the steps of prices and quantities."""
_SIDES = {1: TakerSide.BUY, -1: TakerSide.SELL}
_LOOK_AGAIN_SECONDS = 0.1
_HEARD_SECONDS = 1.0
_NAMES = {interval: name for name, interval in INTERVALS.items()}


class FileSource:
    """Implements Source: replays trades and books in the order of their files, and has candles as time reaches them.

    With a speed, the clock runs from the first row on; without one it stands where all readers have come. When all
    trades were handed out, it shows the last row's time until everybody has heard of it; then the source is finished.
    """

    kind = SourceKind.FILE

    def __init__(self, settings: FileSettings, inspection: Inspection, now: Clock) -> None:
        self._settings = settings
        self._inspection = inspection
        self._now = now
        found = data_files(settings.path, settings.exchange, settings.symbols)
        self._exchanges = {file.exchange for file in found}
        self._files = {(file.pair, file.content): file for file in found}
        self._span: tuple[datetime, datetime] | None = None
        self._started = 0.0
        self._trades: dict[str, FileReplay[Row]] = {}
        self._books: dict[str, FileReplay[BookChange]] = {}
        self._ended: float | None = None

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def asset_type(self) -> AssetType:
        return self._settings.asset_type

    @property
    def channels(self) -> frozenset[Channel]:
        contents, names = {content for _, content in self._files}, {TRADES: Channel.TRADES, DEPTH: Channel.BOOKS}
        return frozenset(channel for content, channel in names.items() if content in contents)

    @property
    def intervals(self) -> frozenset[Interval]:
        return frozenset(INTERVALS[content] for _, content in self._files if content in INTERVALS)

    async def reconnect(self) -> None:
        """Nothing: files are always there."""

    async def symbols(self) -> list[Symbol]:
        self._begin()
        return [self._symbol(pair, f"{pair}@{self.name}") for pair in sorted({pair for pair, _ in self._files})]

    async def market(self, symbol: str, source_symbol: str) -> Symbol | None:
        self._begin()
        pair = source_symbol or symbol.partition("@")[0]
        return self._symbol(pair, symbol) if any(pair == each for each, _ in self._files) else None

    async def now(self) -> datetime:
        _, last = self._begin()
        if not all(replay.ended for replay in self._trades.values()) or self._reached() < last:
            return self._reached()
        clock = asyncio.get_running_loop().time()
        self._ended = self._ended or clock
        if clock - self._ended > _HEARD_SECONDS + 3 * self._settings.settle_seconds:
            raise SourceFinished(f"{self.name}: its files were read to their end, {last}")
        return last

    async def candles(self, symbol: Symbol, interval: Interval, start: datetime) -> list[Candle]:
        self._begin()
        file = self._files.get((symbol.source_symbol, _NAMES.get(interval, "")))
        if file is None:
            return []
        until, read = self._reached(), []
        for row in islice(self._rows(file, start), _CANDLES_A_PAGE):
            candle = self._inspection.candle(symbol.symbol, row, partial(_candle, symbol.symbol, interval, row))
            if candle is not None and candle.open_time <= until:
                read.append(candle)
        return read

    async def trades(self, symbol: Symbol) -> list[Step]:
        self._begin()
        replay = self._trades.get(symbol.source_symbol)
        if replay is None:
            raise SourceFinished(f"{self.name} has no trades of {symbol.source_symbol}")
        rows = await self._due(replay)
        received = self._now()
        read = (self._trade(symbol, row, received, live=True) for row in rows)
        return [Break() if trade is None else trade for trade in read]

    async def past_trades(self, symbol: Symbol, after: Trade | None, start: datetime) -> Sequence[Trade]:
        self._begin()
        file = self._files.get((symbol.source_symbol, TRADES))
        if file is None:
            return []
        rows = self._rows(file, start if after is None else after.trade_time)
        received, until, page = self._now(), self._reached(), []
        for row in rows if after is None else _after(rows, after):
            trade = self._trade(symbol, row, received, live=False)
            if trade is not None and trade.trade_time > until:
                break
            page += [] if trade is None else [trade]
            if len(page) >= _TRADES_A_PAGE:
                break
        return page

    async def book(self, symbol: Symbol) -> list[BookChange]:
        first, _ = self._begin()
        if symbol.source_symbol not in self._books:
            file = self._files.get((symbol.source_symbol, DEPTH))
            if file is None:
                raise SourceFinished(f"{self.name} has no order book of {symbol.source_symbol}")
            changes = book_changes(symbol.symbol, self._rows(file, None), self._now)
            self._books[symbol.source_symbol] = FileReplay(changes, lambda change: change.event_time, first)
        return await self._due(self._books[symbol.source_symbol])

    async def resync_book(self, symbol: Symbol) -> None:
        """Begin the book anew with the snapshot in its file."""
        self._books.pop(symbol.source_symbol, None)

    def _begin(self) -> tuple[datetime, datetime]:
        """Begin to replay, if that has not been done. Returns the times of the first and the last row."""
        if self._span is not None:
            return self._span
        if len(self._exchanges) != 1:
            what = "files of several exchanges" if self._exchanges else "no files"
            raise SourceUnavailable(
                f"{self.name}: {self._settings.path} has {what} of market data; name them"
                " like binance_BTC-USDT_trades.parquet, and choose one exchange"
            )
        try:
            live = [file for file in self._files.values() if file.content in (TRADES, DEPTH)]
            spans = [file.span() for file in live or self._files.values()]
        except (OSError, ValueError) as error:
            raise SourceUnavailable(f"{self.name} cannot be read: {error}") from error
        first, last = min(each[0] for each in spans), max(each[1] for each in spans)
        self._span, self._started = (first, last), asyncio.get_running_loop().time()
        for file in live:
            if file.content == TRADES:
                self._trades[file.pair] = FileReplay(self._rows(file, None), _time, first)
        return self._span

    def _reached(self) -> datetime:
        """How far the clock has come."""
        first, last = self._begin()
        if self._settings.speed:
            elapsed = asyncio.get_running_loop().time() - self._started
            return min(last, first + timedelta(seconds=elapsed * self._settings.speed))
        awaited = [replay.position for replay in self._trades.values() if replay.is_awaited]
        if awaited or all(replay.ended for replay in self._trades.values()):
            return min(awaited, default=last)
        return max(replay.position for replay in self._trades.values())

    async def _due(self, replay: FileReplay[Item]) -> list[Item]:
        """Wait for items of ``replay``. Raises SourceFinished at its end."""
        while True:
            until = self._reached() if self._settings.speed else None
            if items := replay.take(until):
                return items
            if replay.ended:
                raise SourceFinished(f"{self.name}: a file was read to its end")
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    def _rows(self, file: DataFile, start: datetime | None) -> Iterator[Row]:
        try:
            yield from file.rows(None if start is None else to_milliseconds(start))
        except (OSError, ValueError) as error:
            raise SourceUnavailable(f"{self.name} cannot be read: {error}") from error

    def _trade(self, symbol: Symbol, row: Row, received: datetime, *, live: bool) -> Trade | None:
        return self._inspection.trade(symbol.symbol, row, partial(_trade, symbol.symbol, row, received), live=live)

    def _symbol(self, pair: str, name: str) -> Symbol:
        contents = [content for each, content in self._files if each == pair]
        file = self._files[pair, TRADES if TRADES in contents else contents[0]]
        rows = list(islice(self._rows(file, None), _LOOKED_AT))
        price, quantity = ("close", "volume") if file.content in INTERVALS else ("price", "qty")
        base, quote = name.partition("@")[0].split("-")
        steps = finest_step(row[price] for row in rows), finest_step(row[quantity] for row in rows)
        depth = self._settings.book_depth if (pair, DEPTH) in self._files else 0
        return Symbol(name, base, quote, self.name, pair, *steps, exact(0), self._settings.asset_type, book_depth=depth)


@asynccontextmanager
async def open_file_source(
    settings: FileSettings, quarantine: Quarantine, kept: Retention, now: Clock = utc_now
) -> AsyncIterator[FileSource]:
    """The files of ``settings``; they are opened at their first use."""
    inspection = Inspection(settings.name, settings.asset_type, quarantine, kept, settings.future_tolerance, now)
    yield FileSource(settings, inspection, now)


def _after(rows: Iterator[Row], after: Trade) -> Iterator[Row]:
    """The rows behind the trade ``after``; without it, those that happened later."""
    later: list[Row] = []
    for row in rows:
        if str(row["trade_id"]) == after.trade_id:
            yield from rows
            return
        if _time(row) > after.trade_time:
            later.append(row)
            break
    yield from later
    yield from rows


def _time(row: Row) -> datetime:
    return from_milliseconds(row["ts"] or 0)


def _candle(symbol: str, interval: Interval, row: Row) -> Candle:
    first, high, low, close, volume = (exact(row[name]) for name in ("open", "high", "low", "close", "volume"))
    return Candle(symbol, interval, from_milliseconds(row["ts"]), first, high, low, close, volume, Origin.SOURCE)


def _trade(symbol: str, row: Row, received: datetime) -> Trade:
    if row["trade_id"] in (None, ""):
        raise ValueError("it has no id")
    side = _SIDES.get(row["side"], TakerSide.UNKNOWN)
    time = from_milliseconds(row["ts"])
    return Trade(symbol, str(row["trade_id"]), exact(row["price"]), exact(row["qty"]), side, time, received)
