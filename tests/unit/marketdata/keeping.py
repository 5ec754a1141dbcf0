"""A keeper of candles with stores in memory and a source that has all trades."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from services.marketdata.domain.builder import Bucket
from services.marketdata.domain.gaps import Gap, GapState
from services.marketdata.domain.market import Candle, Interval, Origin, Symbol, Trade
from services.marketdata.domain.roll_up import PART, ROLLED_UP, roll_up
from services.marketdata.domain.series import revised
from services.marketdata.keeping.candle_keeper import CandleKeeper
from services.marketdata.keeping.gap_repairer import GapRepairer
from services.marketdata.ports.candles import History
from services.marketdata.ports.gaps import Followed
from services.marketdata.ports.leases import Lease
from services.marketdata.ports.trades import Stored
from tests.unit.marketdata.builders import BTC, at

BUILT = (Interval.ONE_SECOND, Interval.FIVE_SECONDS, Interval.ONE_MINUTE, PART)
SYMBOL = Symbol(BTC, "BTC", "USDT", "simex", "BTC/USDT", *(Decimal(1),) * 3)
_TURNS = 60
"""So many turns of the event loop are enough for everything to come to rest."""


@dataclass
class MemoryTrades:
    """Implements TradeStore."""

    line: list[Trade] = field(default_factory=list)

    async def add(self, trades: Sequence[Trade], lease: Lease | None) -> Stored:
        known = {trade.trade_id for trade in self.line}
        new = []
        for trade in trades:
            if trade.trade_id not in known:
                known.add(trade.trade_id)
                new.append(replace(trade, sequence=len(self.line) + 1))
                self.line.append(new[-1])
        return Stored(new, len(trades) - len(new), [])

    async def after(self, symbol: str, sequence: int, limit: int) -> list[Trade]:
        return self.line[sequence : sequence + limit]


@dataclass
class MemoryCandles:
    """Implements CandleStore on trades in memory."""

    trades: MemoryTrades
    stored: dict[Interval, dict[datetime, Candle]] = field(default_factory=lambda: {each: {} for each in Interval})
    histories: dict[Interval, History] = field(default_factory=dict)

    async def history(self, symbol: str, interval: Interval) -> History | None:
        return self.histories.get(interval)

    async def put_history(self, symbol: str, interval: Interval, history: History, lease: Lease | None) -> None:
        self.histories[interval] = history

    async def add(
        self, candles: Sequence[Candle], history: History | None, lease: Lease | None, *, replace: bool = True
    ) -> list[Candle]:
        interval = candles[0].interval
        if history is not None:
            self.histories[interval] = history
        for candle in candles:
            self.stored[interval][candle.open_time] = revised(self.stored[interval].get(candle.open_time), candle)
        if interval is PART:
            for longer in ROLLED_UP:
                for candle in roll_up(self.stored[PART].values(), longer):
                    self.stored[longer][candle.open_time] = candle
        return list(candles)

    async def built(self, symbol: str, interval: Interval, start: datetime, end: datetime) -> list[Candle]:
        buckets: dict[datetime, Bucket] = {}
        for trade in self.trades.line:
            if start <= trade.trade_time < end:
                open_time = interval.floor(trade.trade_time)
                if open_time in buckets:
                    buckets[open_time].add(trade)
                else:
                    buckets[open_time] = Bucket(trade, interval)
        return [bucket.candle() for _, bucket in sorted(buckets.items())]

    async def built_before(self, symbol: str, interval: Interval, end: datetime) -> Candle | None:
        before = [trade for trade in self.trades.line if trade.trade_time < end]
        if not before:
            return None
        last = max(before, key=lambda trade: trade.place)
        return Candle(symbol, interval, last.trade_time, *(last.price,) * 4, Decimal(0), Origin.TRADES)

    async def in_line(self, symbol: str, interval: Interval, after: int, limit: int) -> list[Candle]:
        raise AssertionError("nothing is published here")

    async def candles(
        self, symbol: str, interval: Interval, start: datetime | None, end: datetime | None, limit: int
    ) -> list[Candle]:
        rows = sorted(self.stored[interval].items())
        return [c for time, c in rows if (start is None or time >= start) and (end is None or time < end)][:limit]

    async def newest_candles(
        self, symbol: str, interval: Interval, limit: int, end: datetime | None = None
    ) -> list[Candle]:
        return (await self.candles(symbol, interval, None, end, len(self.stored[interval])))[-limit:]

    async def delete_expired(self, source: str, now: datetime, kept: Any) -> None:
        raise AssertionError("nothing expires here")

    async def drop_expired(self, now: datetime, kept: Any) -> None:
        raise AssertionError("nothing expires here")


@dataclass
class MemoryGaps:
    """Implements GapStore."""

    gaps: dict[uuid.UUID, Gap] = field(default_factory=dict)
    settled: set[uuid.UUID] = field(default_factory=set)
    written: Followed | None = None

    async def followed(self, symbol: str) -> Followed | None:
        return self.written

    async def put_followed(self, symbol: str, followed: Followed, lease: Lease | None) -> None:
        self.written = followed

    async def add(self, gaps: Sequence[Gap], lease: Lease | None) -> None:
        for gap in gaps:
            self.gaps.setdefault(gap.gap_id, gap)

    async def progressed(self, gap: Gap, lease: Lease | None) -> None:
        self.gaps[gap.gap_id] = gap

    async def close(self, gaps: Sequence[Gap], lease: Lease | None) -> None:
        for gap in gaps:
            self.gaps[gap.gap_id] = gap

    async def settle(self, gap_ids: Sequence[uuid.UUID], lease: Lease | None) -> None:
        self.settled.update(gap_ids)

    async def known(self, symbol: str) -> list[tuple[Gap, bool]]:
        return [
            (gap, gap.gap_id in self.settled)
            for gap in self.gaps.values()
            if gap.state is not GapState.REPAIRED or gap.gap_id not in self.settled
        ]

    async def open_count(self, symbols: Sequence[str]) -> int:
        return sum(gap.state is GapState.OPEN for gap in self.gaps.values())

    async def list(self, wanted: Any, before: int | None, limit: int) -> list[tuple[int, Gap]]:
        return list(enumerate(self.gaps.values()))


class MemorySource:
    """The part of Source that is asked for what is missing."""

    name = "memory"

    def __init__(self, trades: Sequence[Trade]) -> None:
        self.trades = sorted(trades, key=lambda trade: trade.place)

    async def past_trades(self, symbol: Symbol, after: Trade | None, start: datetime) -> Sequence[Trade]:
        if after is None:
            rest = [trade for trade in self.trades if trade.trade_time >= start]
        elif after.number is not None:
            rest = [trade for trade in self.trades if (trade.number or 0) > after.number]
        else:
            rest = [trade for trade in self.trades if trade.place > after.place]
        return rest[:7]


@dataclass
class Kept:
    """What is stored, and who works on it. It survives the keeper, as after a crash."""

    source: MemorySource
    trades: MemoryTrades = field(default_factory=MemoryTrades)
    gaps: MemoryGaps = field(default_factory=MemoryGaps)

    def __post_init__(self) -> None:
        self.candles = MemoryCandles(self.trades)

    @asynccontextmanager
    async def keeper(self) -> AsyncIterator["Working"]:
        """A keeper at work; it is killed at the end."""
        spans: dict[Interval, timedelta | None] = dict.fromkeys(BUILT)
        keeper = CandleKeeper(
            SYMBOL,
            spans,
            self.source,  # type: ignore[arg-type]  # only its past trades are asked for
            self.trades,  # type: ignore[arg-type]  # the rest of a TradeStore is not needed
            self.candles,
            self.gaps,
            None,
            lambda _: None,
            lambda: True,
            kept=timedelta(days=1000),
        )
        work = asyncio.create_task(keeper.run())
        try:
            yield Working(self, keeper)
        finally:
            work.cancel()
            await asyncio.wait([work])


@dataclass
class Working:
    """A keeper at work."""

    kept: Kept
    keeper: CandleKeeper

    async def receive(self, trades: Sequence[Trade]) -> None:
        """Trades arrive now, and are stored."""
        self.keeper.received(trades)
        await self._store(trades, None)
        await self.rest()

    async def tell_time(self, watermark: datetime) -> None:
        """The source's clock has passed ``watermark``."""
        self.keeper.tell_time(watermark)
        await self.rest()

    async def lose(self) -> None:
        """The connection is lost."""
        self.keeper.lost()

    async def repair(self) -> None:
        """Repair all gaps."""
        repairer = GapRepairer(
            self.kept.source,  # type: ignore[arg-type]  # only its past trades are asked for
            self.kept.gaps,
            self._store,
            lambda: at(0),
        )
        await self.rest()
        await repairer.look([self.keeper])
        await self.rest()

    async def rest(self) -> None:
        """Wait until everything that can be done has been done."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def _store(self, trades: Sequence[Trade], lease: Lease | None) -> Stored:
        stored = await self.kept.trades.add(trades, lease)
        self.keeper.stored(stored.new)
        return stored


def summed_up(trades: Sequence[Trade]) -> dict[Interval, list[Candle]]:
    """The candles of all intervals that ``trades`` give, the plain way: sorted, of whole intervals that are over."""
    ordered = sorted(trades, key=lambda trade: trade.place)
    candles: dict[Interval, list[Candle]] = {interval: [] for interval in Interval}
    for interval in BUILT:
        inside: dict[datetime, list[Trade]] = {}
        for trade in ordered:
            inside.setdefault(interval.floor(trade.trade_time), []).append(trade)
        price = ordered[0].price
        for open_time in _opens(interval, ordered[0].trade_time, ordered[-1].trade_time):
            prices = [trade.price for trade in inside.get(open_time, [])] or [price]
            volume = sum((trade.quantity for trade in inside.get(open_time, [])), Decimal(0))
            if open_time == interval.floor(ordered[0].trade_time):
                # Its beginning was not seen.
                price = prices[-1]
                continue
            values = prices[0], max(prices), min(prices), prices[-1], volume
            candles[interval].append(Candle(ordered[0].symbol, interval, open_time, *values, Origin.TRADES))
            price = prices[-1]
    for interval in ROLLED_UP:
        candles[interval] = roll_up(candles[PART], interval)
    return candles


def _opens(interval: Interval, first: datetime, last: datetime) -> list[datetime]:
    start = interval.floor(first)
    count = (interval.floor(last) - start) // interval.length
    return [start + number * interval.length for number in range(count)]
