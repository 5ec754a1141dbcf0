"""The live trades of one symbol."""

import asyncio
import logging
from collections.abc import Sequence

from services.marketdata.domain.market import Symbol, Trade
from services.marketdata.feeding.patience import Patience
from services.marketdata.feeding.trade_recorder import RecorderFull, TradeRecorder
from services.marketdata.keeping.candle_keeper import CandleKeeper
from services.marketdata.ports.sources import Source, SourceFinished, SourceUnavailable

_log = logging.getLogger(__name__)

_TROUBLED_SECONDS = 10.0
"""How long after its last failure a connection without trades counts as failed."""
_ARRIVAL_SECONDS = 1.0
"""How long after a trade can be asked for it has reached us also by itself."""


class LiveSymbol:
    """Takes the trades of one symbol from its source to the recorder, through every loss of the connection."""

    def __init__(self, symbol: Symbol, keeper: CandleKeeper, source: Source, recorder: TradeRecorder) -> None:
        self.symbol = symbol
        self.keeper = keeper
        self.finished = False
        """Whether the source will never have another trade of it."""
        self.reconnects = 0
        self._source = source
        self._recorder = recorder
        self._problem: tuple[float, str] | None = None
        self._waiting: asyncio.Timeout | None = None
        self._newest: Trade | None = None
        self._heard_at = asyncio.get_running_loop().time()

    @property
    def problem(self) -> str | None:
        """Why its trades do not arrive, if that is known."""
        if self._problem is None or asyncio.get_running_loop().time() - self._problem[0] > _TROUBLED_SECONDS:
            return None
        return self._problem[1]

    async def watch(self) -> None:
        """Take trades until the source has no more of them."""
        patience = Patience()
        while True:
            try:
                await self._take()
                patience.reset()
            except SourceFinished:
                self.finished = True
                return
            except RecorderFull as error:
                self._lost(str(error))
                await self._recorder.room()
            except SourceUnavailable as error:
                self._lost(str(error))
                await asyncio.sleep(patience.lost())

    async def watch_silence(self, silent_seconds: float) -> None:
        """For ever, find out whether a market that is silent has traded nevertheless; take that, and connect anew."""
        while True:
            left = self._heard_at + silent_seconds - asyncio.get_running_loop().time()
            if left > 0:
                await asyncio.sleep(left)
                continue
            self._heard_at = asyncio.get_running_loop().time()
            try:
                if missing := await self._missing():
                    _log.warning("trades do not come, though there are some", extra={"symbol": self.symbol.symbol})
                    # Perhaps the market has halted, and no later trade will show that these are missing.
                    self._recorder.add(missing)
                    self._newest = missing[-1]
                    await self._source.reconnect()
                    self.give_up()
            except (SourceUnavailable, RecorderFull) as error:
                _log.warning("silence not explained", extra={"symbol": self.symbol.symbol, "problem": str(error)})

    async def _missing(self) -> Sequence[Trade]:
        """The first trades that the source has behind the newest one, if none of them comes."""
        newest = self._newest
        if newest is None:
            return ()
        missing = await self._source.past_trades(self.symbol, newest, newest.trade_time)
        await asyncio.sleep(_ARRIVAL_SECONDS)
        return missing if self._newest is newest else ()

    def give_up(self) -> None:
        """Wait no longer for what was asked of the source, but ask it anew."""
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def _take(self) -> None:
        try:
            async with asyncio.timeout(None) as self._waiting:
                steps = await self._source.trades(self.symbol)
        except TimeoutError as error:
            raise SourceUnavailable(f"{self._source.name} was silent for too long; it is connected anew") from error
        finally:
            self._waiting = None
        trades = [step for step in steps if isinstance(step, Trade)]
        self._recorder.add(trades)
        if trades:
            self._newest, self._heard_at = trades[-1], asyncio.get_running_loop().time()
        if self._problem is not None:
            self.reconnects += 1
            self._problem = None
        self.keeper.received(steps)

    def _lost(self, why: str) -> None:
        self._problem = asyncio.get_running_loop().time(), why
        self.keeper.lost()
        _log.warning("trades lost", extra={"symbol": self.symbol.symbol, "problem": why})
