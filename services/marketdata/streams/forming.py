"""Forming candles for those who want them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from levimesh.marketdata.v1 import trade_pb2
from services.marketdata.converters import market as convert
from services.marketdata.converters import streams as stream_converters
from services.marketdata.domain.forming import FormingCandles
from services.marketdata.domain.instruments import Instrument
from services.marketdata.domain.market import Candle, Interval
from services.marketdata.ports.candle_reader import CandleReader
from services.marketdata.ports.trade_history import TradeHistory
from services.marketdata.streams.channels import Channel, Output, Payload
from services.marketdata.streams.marks import Marks
from services.runtime.broadcast import Broadcast
from services.runtime.journal import Entry

FORMING_SECONDS = 0.25
"""The shortest time between two messages with a forming candle."""
_PART = Interval.FIVE_MINUTES
"""What longer candles are summed up from; shorter ones are inside of one."""
_READ_AT_ONCE = 10_000


@dataclass
class _Followed:
    """The forming candles of one symbol."""

    forming: FormingCandles = field(default_factory=FormingCandles)
    complete: dict[Interval, datetime] = field(default_factory=dict)
    """The open times of the newest complete candles."""
    known_to: int = 0
    """The sequence up to which the trades were read from the store."""
    loading: "asyncio.Task[None] | None" = None
    early: list[bytes] | None = field(default_factory=list)
    """What was published while the store was read; None when that is over."""

    def traded(self, event: bytes) -> None:
        """Trades were published."""
        if self.early is not None:
            self.early.append(event)
            return
        for trade in trade_pb2.TradeBatch.FromString(event).trades:
            if trade.sequence > self.known_to:
                self.forming.add_trade(convert.trade_from_pb(trade))

    def completed(self, candle: Candle) -> None:
        """A candle is complete, or was corrected."""
        self.forming.add_candle(candle)
        self.complete[candle.interval] = max(candle.open_time, self.complete.get(candle.interval, candle.open_time))

    def current(self, symbol: str, interval: Interval) -> Candle | None:
        """The candle that goes on."""
        candle, complete = self.forming.current(symbol, interval), self.complete.get(interval)
        return None if candle is None or (complete is not None and candle.open_time <= complete) else candle


class LiveForming:
    """The forming candles of a replica: of the symbols for which somebody wants them, as each trade costs.

    They are put into bytes once for all streams that want the same.
    """

    def __init__(
        self,
        marks: Marks,
        trades: Broadcast,
        candles: Mapping[Interval, Broadcast],
        history: TradeHistory,
        stored: CandleReader,
    ) -> None:
        self.marks = marks
        self.trades = trades
        self._history = history
        self._stored = stored
        self._followed: dict[str, _Followed] = {}
        self._wanted: Counter[str] = Counter()
        self._made: dict[tuple[str, Interval], tuple[int, bytes]] = {}
        trades.listen(self._traded)
        for broadcast in candles.values():
            broadcast.listen(self._completed)

    async def follow(self, symbols: Collection[str]) -> None:
        """Keep the forming candles of ``symbols``, until as many calls of ``leave``; return when they are there."""
        self._wanted.update(symbols)
        for symbol in symbols:
            followed = self._followed.setdefault(symbol, _Followed())
            if followed.loading is None or (followed.loading.done() and followed.early is not None):
                followed.loading = asyncio.create_task(self._load(symbol, followed))
        for symbol in symbols:
            if (loading := self._followed[symbol].loading) is not None:
                # Others may wait for it too, so a stream that ends must not cancel it.
                await asyncio.shield(loading)

    def leave(self, symbols: Collection[str]) -> None:
        """The forming candles of ``symbols`` are wanted once less."""
        self._wanted.subtract(symbols)
        for symbol in symbols:
            if self._wanted[symbol] <= 0:
                del self._wanted[symbol]
                self._followed.pop(symbol, None)

    async def now(self, symbol: str, interval: Interval) -> Candle | None:
        """The forming candle of ``symbol``; None when none is forming."""
        try:
            await self.follow([symbol])
            followed = self._followed.get(symbol)
            return None if followed is None else followed.current(symbol, interval)
        finally:
            self.leave([symbol])

    def part(self, symbol: str, interval: Interval) -> bytes:
        """The forming candle as a part of a batch; empty when none is forming."""
        moment, part = self._made.get((symbol, interval), (-1, b""))
        if moment != self.marks.count:
            part = self._make(symbol, interval)
            self._made[symbol, interval] = self.marks.count, part
        return part

    def _make(self, symbol: str, interval: Interval) -> bytes:
        followed = self._followed.get(symbol)
        candle = None if followed is None else followed.current(symbol, interval)
        return b"" if candle is None else stream_converters.forming_candle(candle)

    def _traded(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if (followed := self._followed.get(entry.key)) is not None:
                followed.traded(entry.event)

    def _completed(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if (followed := self._followed.get(entry.key)) is not None:
                for candle in stream_converters.candles_of(entry):
                    followed.completed(convert.candle_from_pb(candle))

    async def _load(self, symbol: str, followed: _Followed) -> None:
        """Read what the candles that go on are made of so far."""
        newest = await self._history.newest(symbol, 1)
        for trade in newest:
            await self._load_trades(symbol, _PART.floor(trade.trade_time), followed)
            day = Interval.ONE_DAY.floor(trade.trade_time)
            for candle in await self._stored.candles(symbol, _PART, day, None, Interval.ONE_DAY.value // _PART.value):
                followed.completed(candle)
        for interval in Interval:
            for candle in await self._stored.newest_candles(symbol, interval, 1):
                followed.completed(candle)
        early, followed.early = followed.early, None
        for event in early or ():
            followed.traded(event)

    async def _load_trades(self, symbol: str, start: datetime, followed: _Followed) -> None:
        after: tuple[datetime, str] | None = None
        while page := await self._history.between(symbol, start, None, after, _READ_AT_ONCE):
            for trade in page:
                followed.forming.add_trade(trade)
                followed.known_to = max(followed.known_to, trade.sequence)
            after = page[-1].trade_time, page[-1].trade_id


class FormingChannel(Channel):
    """The forming candles of one interval: once at the beginning, then as trades come, at most four times a second."""

    name = ""

    def __init__(self, live: LiveForming, interval: Interval, pack: Callable[[Sequence[bytes]], bytes]) -> None:
        super().__init__(live.trades)
        self._live = live
        self._interval = interval
        self._pack = pack
        self._seen = live.marks.count
        self._untold: set[str] = set()
        self._not_before = 0.0
        self._followed: list[str] = []

    @property
    def due(self) -> float | None:
        return self._not_before if self._untold or self._seen != self._live.marks.count else None

    async def prepare(self, symbols: Collection[str]) -> None:
        self._followed += symbols
        await self._live.follow(symbols)

    def watch(self, symbols: frozenset[str]) -> None:
        """Deliver the candles of ``symbols``, which have been prepared, without having instruments."""
        self.symbols = symbols

    def add(self, instruments: Sequence[Instrument]) -> None:
        super().add(instruments)
        self._untold |= {instrument.symbol for instrument in instruments}

    def remove(self, instruments: Sequence[Instrument]) -> None:
        super().remove(instruments)
        self._untold &= self.symbols

    def close(self) -> None:
        super().close()
        self._live.leave(self._followed)

    async def take(self) -> Output | None:
        marks, now = self._live.marks, asyncio.get_running_loop().time()
        if now < self._not_before or (self._seen == marks.count and not self._untold):
            return None
        changed = {*marks.changed_since(self._seen, self.symbols), *self._untold}
        self._seen, self._untold = marks.count, set()
        parts = [part for symbol in sorted(changed) if (part := self._live.part(symbol, self._interval))]
        if not parts:
            return None
        self._not_before = now + FORMING_SECONDS
        return Payload(self._pack(parts))
