"""Follows the line of a symbol's stored trades: candles are built from it, and what is missing in it is found."""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from services.marketdata.domain.builder import CandleBuilder
from services.marketdata.domain.gaps import Coverage, Gap, GapFinder, GapState
from services.marketdata.domain.market import Candle, Interval, Symbol, Trade
from services.marketdata.domain.sequence import Break, Moment, Step, TradeSequence
from services.marketdata.domain.series import Progress, Span
from services.marketdata.feeding.patience import Patience
from services.marketdata.keeping.series_keeper import SeriesKeeper
from services.marketdata.ports.candles import CandleStore
from services.marketdata.ports.gaps import Followed, GapStore
from services.marketdata.ports.leases import Lease, LeaseLost
from services.marketdata.ports.sources import Source
from services.marketdata.ports.trades import TradeStore

_log = logging.getLogger(__name__)

_READ_AT_ONCE = 5_000
_AT_ONCE = 200
"""So many trades are followed without a pause."""
_WRITE_SECONDS = 1.0
"""How often it is written down how far the trades have been looked at."""


class CandleKeeper:
    """The candles of one symbol, while this replica leads its source.

    ``run`` works until it is cancelled or the lease is lost; the rest never waits. Whatever is lost in a crash is found
    again by the next leader: it looks at all trades behind ``Followed.position``, and takes the time before its own
    first trade for a gap unless the ids prove that nothing is missing.
    """

    def __init__(
        self,
        symbol: Symbol,
        spans: Mapping[Interval, timedelta | None],
        source: Source,
        trades: TradeStore,
        candles: CandleStore,
        gaps: GapStore,
        lease: Lease | None,
        publish: Callable[[Sequence[Candle]], None],
        is_stored: Callable[[], bool],
        *,
        kept: timedelta,
        is_followed: bool = True,
    ) -> None:
        """``spans`` tells for each interval how much history is wanted; None for one that comes from trades only.

        ``is_stored`` tells whether all trades that were received are stored by now; ``kept`` is how long they are.
        ``is_followed`` is False where trades are brought to us, so that none is missed while nobody leads.
        """
        self.symbol = symbol
        self.coverage = Coverage()
        self.gaps_found = asyncio.Event()
        """Set when there are new gaps."""
        self._trades = trades
        self._gaps = gaps
        self._lease = lease
        self._is_stored = is_stored
        self._kept = kept
        self._is_followed = is_followed
        self.series = [
            SeriesKeeper(symbol, interval, span, source, candles, self.coverage, lease, publish)
            for interval, span in spans.items()
        ]
        self._builders = [(CandleBuilder(series.interval), series) for series in self.series]
        self._sequence = TradeSequence()
        self._finder = GapFinder()
        self._events: deque[Trade | Moment | Gap] = deque()
        self._breaks: deque[set[str]] = deque([set()] if is_followed else [])
        """The ids of the trades that came after each Break, up to the next one; it comes before the first of them."""
        self._connected = not is_followed
        self._position = 0
        self._unpaused = 0
        self._found: list[Gap] = []
        self._known_gaps: set[uuid.UUID] = set()
        """Those that were stored when it began."""
        self._unsettled: list[uuid.UUID] = []
        self._written: Followed | None = None
        self._news = asyncio.Event()

    @property
    def complete(self) -> bool:
        """Whether all history was fetched at some time since the start."""
        return all(series.complete for series in self.series if series.span is not None)

    @property
    def problem(self) -> str | None:
        """Why the source's candles cannot be had."""
        return next((series.problem for series in self.series if series.problem), None)

    def progress(self) -> list[Progress]:
        """How far the histories are, as far as that is known."""
        known = (series.progress() for series in self.series if series.span is not None)
        return [progress for progress in known if progress is not None]

    def received(self, steps: Sequence[Step]) -> None:
        """Trades have come from the source, and will be stored."""
        self._connected = True
        for step in steps:
            if isinstance(step, Break):
                self._breaks.append(set())
            elif self._breaks:
                self._breaks[-1].add(step.trade_id)

    def lost(self) -> None:
        """The connection was lost, or trades could not be taken."""
        self._connected = False
        self._breaks.append(set())

    def stored(self, trades: Sequence[Trade]) -> None:
        """Trades were stored, in the order of their sequences; those that are not told are read from the store."""
        self._events += trades
        self._news.set()

    def tell_time(self, watermark: datetime) -> None:
        """The source's clock has passed ``watermark``, and what happened before has arrived, if it is connected."""
        if self._is_stored():
            self._events.append(Moment(watermark))
            self._news.set()

    def closed(self, gaps: Sequence[Gap]) -> None:
        """The first of ``gaps`` was closed, and the others remain of it."""
        self._events += gaps
        self._news.set()

    def extended(self, start: datetime, end: datetime) -> None:
        """All trades of [start, end) have been stored."""
        if self.coverage.since is not None and start < self.coverage.since <= end:
            self.coverage.extend(start)
            self._doubt(Span(start, end))

    async def run(self) -> None:
        """Keep the candles."""
        async with asyncio.TaskGroup() as tasks:
            for series in self.series:
                tasks.create_task(series.run())
            tasks.create_task(self._follow())
            tasks.create_task(self._write_down_often())

    async def close(self) -> None:
        """Write down how far it is, after ``run`` has ended."""
        await self._write_down()

    async def _follow(self) -> None:
        patience = Patience()
        opened = False
        while True:
            self._news.clear()
            try:
                if not opened:
                    await self._open()
                    opened = True
                while self._events:
                    await self._take(self._events[0])
                    self._events.popleft()
                    await self._pause()
                await self._record_gaps()
                patience.reset()
            except LeaseLost:
                raise
            except Exception:  # noqa: BLE001 - whatever fails is logged and tried again; nothing may be left out
                _log.exception("trades not followed", extra={"symbol": self.symbol.symbol})
                await asyncio.sleep(patience.lost())
                continue
            await self._news.wait()

    async def _open(self) -> None:
        symbol = self.symbol.symbol
        followed = await self._gaps.followed(symbol)
        known = await self._gaps.known(symbol)
        if followed is not None:
            self.coverage.since = self.coverage.until = followed.since
            if followed.newest is not None:
                self.coverage.reach(followed.newest)
            self._position = followed.position
            self._sequence, self._finder = TradeSequence(followed.newest), GapFinder(followed.newest)
        self._known_gaps = {gap.gap_id for gap, _ in known}
        for gap, settled in known:
            self.coverage.put(gap)
            if gap.state is GapState.REPAIRED and not settled:
                self._settle_later(gap)
        if self.coverage.open_gaps:
            self.gaps_found.set()
        if self._is_followed:
            self._step(self._sequence.interrupt())
        await self._read_on()

    async def _read_on(self) -> None:
        """Take in what is stored and was not told."""
        while trades := await self._trades.after(self.symbol.symbol, self._position, _READ_AT_ONCE):
            for trade in trades:
                self._trade(trade)
                await self._pause()
            await self._record_gaps()

    async def _take(self, event: Trade | Moment | Gap) -> None:
        if isinstance(event, Moment):
            if not self._is_followed:
                # Other replicas store trades, too.
                await self._read_on()
            self._tell_time(event.time)
        elif isinstance(event, Gap):
            self.coverage.put(event)
            if event.state is GapState.REPAIRED:
                self._settle_later(event)
        elif event.sequence > self._position + 1:
            await self._read_on()
        elif event.sequence == self._position + 1:
            self._trade(event)

    async def _pause(self) -> None:
        """Let others have their turn now and then: many trades at once take a while."""
        self._unpaused += 1
        if self._unpaused >= _AT_ONCE:
            self._unpaused = 0
            await asyncio.sleep(0)

    def _trade(self, trade: Trade) -> None:
        self._position = trade.sequence
        newest = self._finder.newest
        late = newest is not None and trade.number is None and trade.place < newest.place
        if late or self._sequence.is_late(trade):
            if not self.coverage.awaits(trade):
                for builder, series in self._builders:
                    series.offer(builder.add_late(trade))
            return
        while any(trade.trade_id in after for after in self._breaks):
            self._breaks.popleft()
            self._step(self._sequence.interrupt())
        self._step(self._sequence.add([trade]))

    def _tell_time(self, watermark: datetime) -> None:
        self._step(self._sequence.expire(watermark))
        self.coverage.forget(watermark - self._kept)
        for builder, series in self._builders:
            # A connection can be dead without a sign: where the source has candles, it is asked rather than believed.
            if series.span is None and self._connected and not self._breaks and not self._sequence.waits:
                series.offer(builder.close(watermark))
            series.tell_time(watermark)

    def _step(self, steps: Sequence[Step]) -> None:
        for gap in self._finder.add(steps):
            if gap.gap_id in self._known_gaps:
                # Found by whoever led before, and perhaps repaired since: it must not be open again.
                continue
            self.coverage.put(gap)
            self._found.append(gap)
        for step in steps:
            if isinstance(step, Trade):
                self.coverage.reach(step)
        for builder, series in self._builders:
            series.offer(builder.add(steps))

    async def _record_gaps(self) -> None:
        while found := self._found[:]:
            await self._gaps.add(found, self._lease)
            del self._found[: len(found)]
            self.gaps_found.set()

    def _settle_later(self, gap: Gap) -> None:
        self._unsettled.append(gap.gap_id)
        self._doubt(Span(gap.start_time, gap.end_after))

    def _doubt(self, span: Span) -> None:
        for series in self.series:
            series.doubt(span)

    async def _write_down_often(self) -> None:
        patience = Patience()
        while True:
            await asyncio.sleep(_WRITE_SECONDS)
            try:
                await self._write_down()
                patience.reset()
            except LeaseLost:
                raise
            except Exception:  # noqa: BLE001 - it is written down later
                _log.exception("not written down how far trades were followed", extra={"symbol": self.symbol.symbol})
                await asyncio.sleep(patience.lost())

    async def _write_down(self) -> None:
        """Write down how far it is, if nothing that was found on the way would be forgotten."""
        since = self.coverage.since
        in_doubt = any(series.is_in_doubt for series in self.series)
        if since is None or self._found or self._sequence.waits or in_doubt:
            return
        # Not those that are closed meanwhile: their candles are still to be looked at.
        followed, unsettled = Followed(since, self._position, self._finder.newest), self._unsettled[:]
        if followed != self._written:
            await self._gaps.put_followed(self.symbol.symbol, followed, self._lease)
            self._written = followed
        if unsettled:
            await self._gaps.settle(unsettled, self._lease)
            del self._unsettled[: len(unsettled)]
