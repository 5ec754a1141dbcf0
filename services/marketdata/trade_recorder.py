"""Stores live trades in batches, then publishes them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from services.marketdata.domain.market import Trade
from services.marketdata.domain.ticker import TickerBoard
from services.marketdata.patience import Patience
from services.marketdata.ports.publisher import Publisher
from services.marketdata.ports.store import TradeStore

T = TypeVar("T")

_log = logging.getLogger(__name__)

_BATCH = 5_000
MOST_WAITING = 200_000
"""Trades beyond this many are dropped, the oldest first, while the store is away."""


class TradeRecorder:
    """Writes whatever is waiting, as soon as the batch before is written and published."""

    def __init__(self, store: TradeStore, publisher: Publisher, board: TickerBoard) -> None:
        self._store = store
        self._publisher = publisher
        self._board = board
        self._waiting: list[Trade] = []
        self._news = asyncio.Event()

    def add(self, trades: Sequence[Trade]) -> None:
        """Take in trades; never waits."""
        self._waiting += trades
        if (excess := len(self._waiting) - MOST_WAITING) > 0:
            _log.error("trades dropped, the store is away for too long", extra={"dropped": excess})
            del self._waiting[:excess]
        self._news.set()

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                await self._record(batch)

    async def _record(self, batch: list[Trade]) -> None:
        stored = await _until_it_works(lambda: self._store.add_trades(batch), "trades not stored")
        if not stored:
            return
        for trade in stored:
            self._board.add_trade(trade)
        await _until_it_works(lambda: self._publisher.trades(stored), "trades not published")


async def _until_it_works(work: Callable[[], Awaitable[T]], problem: str) -> T:
    patience = Patience()
    while True:
        try:
            return await work()
        except Exception:  # noqa: BLE001 - whatever fails is logged and tried again; the batch must not be lost
            _log.exception(problem)
            await asyncio.sleep(patience.lost())
