"""Follows a source: its symbols, its clock and its trades."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from services.marketdata.candle_keeper import CandleKeeper
from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Interval, Symbol, Trade
from services.marketdata.domain.sequence import Step
from services.marketdata.domain.series import Progress
from services.marketdata.patience import Patience
from services.marketdata.ports.sources import Source, SourceUnavailable
from services.marketdata.ports.store import Store
from services.marketdata.ports.trades import TradeStore
from services.marketdata.trade_recorder import RecorderFull, TradeRecorder
from services.runtime.health import Part

_log = logging.getLogger(__name__)

_TROUBLED_SECONDS = 10.0
"""How long after its last failure a connection without trades counts as failed."""
_RETENTION_SECONDS = 60.0


class _LiveSymbol:
    """The live trades of one symbol, and the keeper of its candles."""

    def __init__(self, symbol: Symbol, keeper: CandleKeeper) -> None:
        self.symbol = symbol
        self.keeper = keeper
        self._problem: tuple[float, str] | None = None

    @property
    def problem(self) -> str | None:
        """Why its trades do not arrive, if that is known."""
        if self._problem is None or asyncio.get_running_loop().time() - self._problem[0] > _TROUBLED_SECONDS:
            return None
        return self._problem[1]

    def received(self, steps: Sequence[Step]) -> None:
        """Trades have arrived."""
        self._problem = None
        self.keeper.received(steps)

    def lost(self, why: str) -> None:
        """The connection was lost."""
        self._problem = asyncio.get_running_loop().time(), why
        self.keeper.lost()


class Feed:
    """One source. ``run`` follows it for ever, through every loss of it; ``part`` says how it is."""

    def __init__(
        self,
        source: Source,
        store: Store,
        trades: TradeStore,
        catalog: Catalog,
        recorder: TradeRecorder,
        keeper_of: Callable[[Symbol], CandleKeeper],
        part: Part,
        history_part: Part,
        settle: timedelta,
    ) -> None:
        self._source = source
        self._store = store
        self._trades = trades
        self._catalog = catalog
        self._recorder = recorder
        self._keeper_of = keeper_of
        self._part = part
        self._history_part = history_part
        self._settle = settle
        self._symbols: list[_LiveSymbol] = []
        self._watermark: datetime | None = None

    async def run(self) -> None:
        """Follow the source."""
        symbols = await self._find_symbols()
        await self._store.put_symbols(symbols)
        self._catalog.add(symbols)
        self._symbols = [_LiveSymbol(symbol, self._keeper_of(symbol)) for symbol in symbols]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_clock())
            for live in self._symbols:
                tasks.create_task(self._watch(live))
                tasks.create_task(live.keeper.run())

    def stored(self, symbol: str, trades: Sequence[Trade]) -> None:
        """Trades of a symbol were stored by this replica."""
        for live in self._symbols:
            if live.symbol.symbol == symbol:
                live.keeper.stored(trades)

    async def drop_expired(self, trades_kept: timedelta, candles_kept: Mapping[Interval, timedelta]) -> None:
        """Drop old partitions for ever, by the source's clock."""
        while True:
            if self._watermark is not None:
                await self._trades.drop_expired(self._watermark - trades_kept)
                await self._store.drop_expired(self._watermark, candles_kept)
            await asyncio.sleep(_RETENTION_SECONDS)

    def progress(self) -> list[Progress]:
        """How far the histories are, as far as that is known."""
        return [progress for live in self._symbols for progress in live.keeper.progress()]

    async def _find_symbols(self) -> list[Symbol]:
        patience = Patience()
        while True:
            try:
                return await self._source.symbols()
            except SourceUnavailable as error:
                self._part.failed(str(error))
                await asyncio.sleep(patience.lost())

    async def _follow_clock(self) -> None:
        patience = Patience()
        while True:
            try:
                told = await self._source.now()
            except SourceUnavailable as error:
                self._part.failed(str(error))
                await asyncio.sleep(patience.lost())
                continue
            patience.reset()
            await asyncio.sleep(self._settle.total_seconds())
            self._watermark = told
            for live in self._symbols:
                live.keeper.tell_time(told)
            self._report()

    def _report(self) -> None:
        keepers = [live.keeper for live in self._symbols]
        problems = [live.problem for live in self._symbols] + [keeper.problem for keeper in keepers]
        if problem := next(filter(None, problems), None):
            self._part.failed(problem)
        else:
            self._part.ok()
        if all(keeper.complete for keeper in keepers):
            self._history_part.ok()
        else:
            self._history_part.failed("history is being fetched; ListBackfills tells how far")

    async def _watch(self, live: _LiveSymbol) -> None:
        patience = Patience()
        while True:
            try:
                steps = await self._source.trades(live.symbol)
            except SourceUnavailable as error:
                live.lost(str(error))
                _log.warning("trades lost", extra={"symbol": live.symbol.symbol, "problem": str(error)})
                await asyncio.sleep(patience.lost())
                continue
            patience.reset()
            live.received(steps)
            trades = [step for step in steps if isinstance(step, Trade)]
            try:
                self._recorder.add(trades)
            except RecorderFull as error:
                live.lost(str(error))
                await self._recorder.room()
