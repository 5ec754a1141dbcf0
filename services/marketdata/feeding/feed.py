"""Follows a source while this replica leads it: its symbols, its clock, its trades and its order books."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Channel, SourceKind, Symbol, SymbolState, Trade
from services.marketdata.domain.series import Progress
from services.marketdata.domain.source_status import SourceState, SourceStatus
from services.marketdata.feeding.live_symbol import LiveSymbol
from services.marketdata.feeding.patience import Patience
from services.marketdata.feeding.source_work import tell_status
from services.marketdata.feeding.trade_recorder import TradeRecorder
from services.marketdata.feeding.watched_source import WatchedSource
from services.marketdata.keeping.candle_keeper import CandleKeeper
from services.marketdata.ports.leases import Lease, LeaseLost
from services.marketdata.ports.source_states import SourceStates
from services.marketdata.ports.sources import SourceFinished, SourceUnavailable

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
"""How often the symbols that are to be followed are looked up."""
_REPORT_SECONDS = 600.0
"""How often the source is asked for its markets, whose steps and limits may have changed."""
_STOP_SECONDS = 2.0


@dataclass(frozen=True)
class FeedTimes:
    """What a source may take its time for."""

    settle: timedelta
    """How long after the source has told its time everything that happened before that has reached us."""
    silent_seconds: float
    """How long it may be silent before it is connected anew."""


class Work(Protocol):
    """Something more that is done while the source is led."""

    async def __call__(self, lease: Lease, keepers: Callable[[], Iterable[CandleKeeper]]) -> None:
        """Do it for ever, for the symbols that are followed at a time. Raises LeaseLost."""


class Feed:
    """One source. ``lead`` follows it as long as the lease is held, through every loss of the source."""

    def __init__(
        self,
        source: WatchedSource,
        put_symbols: Callable[[Sequence[Symbol]], Awaitable[None]],
        catalog: Catalog,
        recorder: TradeRecorder,
        keeper_of: Callable[[Symbol, Lease], CandleKeeper],
        states: SourceStates,
        quarantined: Callable[[], int],
        times: FeedTimes,
        works: Sequence[Work],
    ) -> None:
        """``put_symbols`` stores what the source reports of its markets; ``quarantined`` tells its refused rows."""
        self._source = source
        self._put_symbols = put_symbols
        self._catalog = catalog
        self._recorder = recorder
        self._keeper_of = keeper_of
        self._states = states
        self._quarantined = quarantined
        self._times = times
        self._works = works
        self._symbols: dict[str, tuple[LiveSymbol, asyncio.Task[None]]] = {}
        self._begin()

    @property
    def is_leading(self) -> bool:
        """Whether this replica leads the source."""
        return self._leading

    def stored(self, symbol: str, trades: Sequence[Trade]) -> None:
        """Trades of a symbol were stored by this replica."""
        if symbol in self._symbols:
            self._symbols[symbol][0].keeper.stored(trades)

    def progress(self) -> list[Progress]:
        """How far the histories are, as far as that is known here."""
        return [progress for keeper in self._keepers() for progress in keeper.progress()]

    async def lead(self, lease: Lease) -> None:
        """Follow the source. Raises LeaseLost when another replica leads."""
        self._begin()
        self._leading = True
        self._recorder.lead(lease)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(tell_status(self._states, lease, self._status))
                tasks.create_task(self._stop_with_lease())
                tasks.create_task(self._follow(lease, tasks))
        finally:
            self._leading = False
            await self._end()

    def _begin(self) -> None:
        self._leading = False
        self._symbols.clear()
        self._watermark: datetime | None = None
        self._problem: str | None = None
        self._finished = False
        self._reconnects = 0
        self._quarantined_before = self._quarantined()

    async def _end(self) -> None:
        """Leave the source as the next leader wants to find it, as far as that is possible in a short time."""
        with suppress(Exception):
            async with asyncio.timeout(_STOP_SECONDS):
                await self._recorder.flushed()
                for keeper in self._keepers():
                    await keeper.close()
        self._symbols.clear()

    async def _stop_with_lease(self) -> None:
        await self._recorder.lease_lost.wait()
        raise LeaseLost(f"the lease of {self._source.name} is another replica's")

    async def _follow(self, lease: Lease, tasks: asyncio.TaskGroup) -> None:
        await self._report_symbols()
        self._source.heard()
        tasks.create_task(self._report_often())
        tasks.create_task(self._follow_clock())
        if self._source.channels & {Channel.TRADES, Channel.BOOKS}:
            tasks.create_task(self._watch_silence())
        for work in self._works:
            tasks.create_task(_run(work, lease, self._keepers))
        while True:
            await self._follow_symbols(lease, tasks)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _report_symbols(self) -> None:
        """Store the markets that the settings name, as the source has them."""
        patience = Patience()
        while True:
            try:
                await self._put_symbols(await self._source.symbols())
            except SourceUnavailable as error:
                self._problem = str(error)
            except Exception:  # noqa: BLE001 - whatever fails is logged and tried again
                _log.exception("symbols not stored", extra={"source": self._source.name})
            else:
                self._problem = None
                return
            await asyncio.sleep(patience.lost())

    async def _report_often(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            await self._report_symbols()

    async def _follow_symbols(self, lease: Lease, tasks: asyncio.TaskGroup) -> None:
        """Begin to follow what is to be followed by now, and stop what is not."""
        wanted = {symbol.symbol: symbol for symbol in self._catalog.all() if self._is_wanted(symbol)}
        for name, (live, _) in list(self._symbols.items()):
            symbol = wanted.get(name)
            if symbol is None or symbol.source_symbol != live.symbol.source_symbol:
                await self._stop(name)
            else:
                live.symbol = symbol
        for name in wanted.keys() - self._symbols.keys():
            live = LiveSymbol(wanted[name], self._keeper_of(wanted[name], lease), self._source, self._recorder)
            self._symbols[name] = live, tasks.create_task(self._run_symbol(live), name=name)

    def _is_wanted(self, symbol: Symbol) -> bool:
        return symbol.source == self._source.name and symbol.state is SymbolState.ACTIVE

    async def _run_symbol(self, live: LiveSymbol) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(live.keeper.run())
            if Channel.TRADES in self._source.channels:
                tasks.create_task(live.watch())
            if self._source.kind is SourceKind.EXCHANGE:
                tasks.create_task(live.watch_silence(self._times.silent_seconds))

    async def _stop(self, name: str) -> None:
        live, task = self._symbols.pop(name)
        task.cancel()
        await asyncio.wait([task])
        self._reconnects += live.reconnects
        with suppress(Exception):
            await live.keeper.close()

    async def _follow_clock(self) -> None:
        patience = Patience()
        while True:
            try:
                told = await self._source.now()
                self._problem = None
            except SourceFinished:
                self._finished = True
                return
            except SourceUnavailable as error:
                self._problem = str(error)
                await asyncio.sleep(patience.lost())
                continue
            patience.reset()
            await asyncio.sleep(self._times.settle.total_seconds())
            self._watermark = told
            for keeper in self._keepers():
                keeper.tell_time(told)

    async def _watch_silence(self) -> None:
        while True:
            left = self._times.silent_seconds - self._source.silent_for
            if left > 0:
                await asyncio.sleep(left)
                continue
            _log.warning("source is silent", extra={"source": self._source.name})
            with suppress(SourceUnavailable):
                await self._source.reconnect()
            for live, _ in self._symbols.values():
                live.give_up()

    def _keepers(self) -> list[CandleKeeper]:
        return [live.keeper for live, _ in self._symbols.values()]

    def _status(self) -> SourceStatus:
        lives, keepers = [live for live, _ in self._symbols.values()], self._keepers()
        problems = [self._problem, *(live.problem for live in lives), *(keeper.problem for keeper in keepers)]
        problem = next(filter(None, problems), None)
        return SourceStatus(
            self._state(lives, problem),
            problem or "",
            self._source.last_message_time,
            self._source.latency,
            self._recorder.rows,
            self._quarantined() - self._quarantined_before,
            self._reconnects + sum(live.reconnects for live in lives),
            self._source.circuit_open,
            self._watermark is not None and all(keeper.complete for keeper in keepers),
            self._watermark,
        )

    def _state(self, lives: Sequence[LiveSymbol], problem: str | None) -> SourceState:
        if self._finished or (lives and all(live.finished for live in lives)):
            return SourceState.FINISHED
        if problem is not None:
            return SourceState.DOWN
        if self._source.silent_for > self._times.silent_seconds:
            return SourceState.SILENT
        return SourceState.CONNECTING if self._watermark is None else SourceState.LIVE


async def _run(work: Work, lease: Lease, keepers: Callable[[], Iterable[CandleKeeper]]) -> None:
    await work(lease, keepers)
