"""The order books of one source, told together at a steady pace."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from services.marketdata.domain.book import BookChange
from services.marketdata.domain.market import Symbol, SymbolState
from services.marketdata.feeding.book_keeper import BookKeeper, BookTimes
from services.marketdata.feeding.patience import Patience
from services.marketdata.ports.books import BookStore
from services.marketdata.ports.leases import Lease, LeaseLost
from services.marketdata.ports.sources import Source
from services.runtime.clock import Clock

_log = logging.getLogger(__name__)


class BookFeed:
    """Follows the books of the symbols of a source that have a ``book_depth``, while this replica leads the source.

    Bursts are conflated: every ``pace_seconds`` the net change of each book is stored, and given to ``offer`` to be
    published. So a store that is slow or away makes the changes coarser, and no queue grows meanwhile.
    """

    def __init__(
        self,
        source: Source,
        symbols: Callable[[], Iterable[Symbol]],
        store: BookStore,
        offer: Callable[[str, Sequence[BookChange]], None],
        times: BookTimes,
        now: Clock,
    ) -> None:
        self._source = source
        self._symbols = symbols
        self._store = store
        self._offer = offer
        self._times = times
        self._now = now
        self._followed: dict[str, tuple[BookKeeper, asyncio.Task[None]]] = {}
        self._last_words: list[BookChange] = []
        self.newest: datetime | None = None
        """When the newest event happened that was told, by the source's clock."""

    async def run(self, lease: Lease | None) -> None:
        """Follow the books for ever. Raises LeaseLost when another replica leads."""
        patience = Patience()
        self._last_words = []
        try:
            while True:
                try:
                    await self._follow_symbols()
                    await self._tell(lease)
                    patience.reset()
                except LeaseLost:
                    raise
                except Exception:  # noqa: BLE001 - whatever fails is logged and tried again
                    _log.exception("order books not told")
                    await asyncio.sleep(patience.lost())
                await asyncio.sleep(self._times.pace_seconds)
        finally:
            await self._stop(list(self._followed))

    async def _follow_symbols(self) -> None:
        """Begin to follow what is to be followed now, and stop what is not."""
        wanted = {symbol.symbol: symbol for symbol in self._symbols() if self._is_wanted(symbol)}
        over = [name for name, (keeper, _) in self._followed.items() if not _is_same(keeper, wanted.get(name))]
        self._last_words += [word for name in over if (word := self._followed[name][0].end()) is not None]
        await self._stop(over)
        for name, symbol in wanted.items():
            if name in self._followed:
                continue
            stored = await self._store.newest(name)
            keeper = BookKeeper(symbol, self._source, stored, self._times, self._now)
            self._followed[name] = keeper, asyncio.create_task(keeper.run(), name=f"book of {name}")

    def _is_wanted(self, symbol: Symbol) -> bool:
        return symbol.source == self._source.name and symbol.book_depth > 0 and symbol.state is SymbolState.ACTIVE

    async def _stop(self, names: Sequence[str]) -> None:
        tasks = [self._followed.pop(name)[1] for name in names]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell(self, lease: Lease | None) -> None:
        keepers = [keeper for keeper, _ in self._followed.values()]
        last_words, self._last_words = self._last_words, []
        events = last_words + [event for keeper in keepers if (event := keeper.next()) is not None]
        if not events:
            return
        try:
            stored = await self._store.add(events, lease)
        except BaseException:
            # Perhaps they are stored, perhaps not.
            self._last_words = last_words
            for keeper in keepers:
                keeper.not_told()
            raise
        self.newest = max(event.event_time for event in stored)
        for event in stored:
            self._offer(event.symbol, [event])


def _is_same(keeper: BookKeeper, symbol: Symbol | None) -> bool:
    """Whether ``keeper`` keeps what is wanted; other changes of a symbol do not touch its book."""
    if symbol is None:
        return False
    return (keeper.symbol.source_symbol, keeper.symbol.book_depth) == (symbol.source_symbol, symbol.book_depth)
