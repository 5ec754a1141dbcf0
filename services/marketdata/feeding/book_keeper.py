"""The order book of one symbol: kept as its source has it, and told as the changes of its top."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from services.marketdata.domain.book import BookChange, BookSnapshot, OrderBook, difference
from services.marketdata.domain.market import Symbol
from services.marketdata.feeding.patience import Patience
from services.marketdata.ports.sources import Source, SourceFinished, SourceUnavailable
from services.runtime.clock import Clock

_log = logging.getLogger(__name__)

_REFRESH_SECONDS = 60.0
"""The least time between two snapshots that are asked for because the price has moved far."""


@dataclass(frozen=True)
class BookTimes:
    """How often books are told."""

    pace_seconds: float = 0.2
    """Between two changes of one book that are told; what happens meanwhile is one change."""
    snapshot_seconds: float = 10.0
    """After so long a book is told as a whole again, changed or not."""
    silent_seconds: float = 60.0
    """A book that has not changed for so long is asked for again."""


class BookKeeper:
    """Follows the book of one symbol. ``next`` tells what its readers do not know yet.

    ``stored`` is what they knew when it began: the newest snapshot of the line and what follows it.
    """

    def __init__(
        self, symbol: Symbol, source: Source, stored: Sequence[BookChange], times: BookTimes, now: Clock
    ) -> None:
        self.symbol = symbol
        self.problem: str | None = "the order book is not there yet"
        """Why the book cannot be told; None while it can."""
        self._source = source
        self._times = times
        self._now = now
        self._book = OrderBook(symbol.symbol)
        self._told = _rebuilt(symbol, stored)
        self._sure = True
        """Whether the readers know what was told."""
        self._snapshot_at = 0.0
        self._refresh_at = 0.0

    async def run(self) -> None:
        """Follow the book until its source has no more of it, through every loss of it."""
        patience = Patience()
        # Perhaps the book was followed before, and would go on with what came after that.
        begins = True
        while True:
            try:
                if begins:
                    await self._source.resync_book(self.symbol)
                    begins = False
                await self._take_in_news()
            except TimeoutError:
                begins = True
                self._lost(
                    f"the order book has not changed for {self._times.silent_seconds:g} s; it is asked for again"
                )
            except SourceFinished as error:
                self._lost(str(error))
                return
            except SourceUnavailable as error:
                self._lost(str(error))
            except Exception as error:  # noqa: BLE001 - a book that is followed no more must not look like one that is
                begins = True
                self._lost(repr(error))
            if self._book.is_consistent:
                self.problem = None
                patience.reset()
            else:
                # A source whose books are never sound must not be asked without a pause.
                await asyncio.sleep(patience.lost())

    async def _take_in_news(self) -> None:
        async with asyncio.timeout(self._times.silent_seconds):
            changes = await self._source.book(self.symbol)
        if not self._apply(changes) or self._needs_refreshing():
            await self._source.resync_book(self.symbol)

    def next(self) -> BookChange | None:
        """What is to be told now: a whole book, a change, that there is no book, or nothing.

        It counts as told when it is asked for; where telling it fails, say so to :meth:`not_told`.
        """
        before, sure = self._told, self._sure
        top = self._book.top(self.symbol.book_depth)
        if top is None:
            return self._void() if before is not None and (before.consistent or not sure) else None
        self._told, self._sure = top, True
        clock = asyncio.get_running_loop().time()
        if before is not None and before.consistent and sure and clock < self._snapshot_at:
            change = difference(before, top)
            if change is None:
                self._told = before
            if change is None or change.first_update_id <= change.last_update_id:
                return change
        self._snapshot_at = clock + self._times.snapshot_seconds
        return top

    def not_told(self) -> None:
        """It is not known what the readers know: begin again with a whole book."""
        self._sure = False

    def end(self) -> BookSnapshot | None:
        """What is to be told last, when the book is followed no more."""
        return self._void() if self._told is not None and self._told.consistent else None

    def _void(self) -> BookSnapshot | None:
        """What says that the book that was told last is void."""
        told = self._told
        if told is None:
            return None
        void = BookSnapshot(told.symbol, told.update_id, (), (), told.event_time, self._now(), consistent=False)
        self._told, self._sure = void, True
        return void

    def _needs_refreshing(self) -> bool:
        """Whether the top reaches levels that the snapshot did not, so that some may be missing."""
        clock = asyncio.get_running_loop().time()
        if clock < self._refresh_at or not self._book.reaches_beyond_snapshot(self.symbol.book_depth):
            return False
        self._refresh_at = clock + _REFRESH_SECONDS
        return True

    def _apply(self, changes: Sequence[BookChange]) -> bool:
        """Take in changes; False where a snapshot is needed after them."""
        whole = True
        for change in changes:
            if isinstance(change, BookSnapshot):
                whole = True
            if not self._book.apply(change):
                whole = False
        if not whole:
            self.problem = "changes of the order book were lost, so that it begins again with a snapshot"
            _log.warning("order book lost", extra={"symbol": self.symbol.symbol, "problem": self.problem})
        return whole

    def _lost(self, why: str) -> None:
        self._book.void()
        self.problem = why
        _log.warning("order book lost", extra={"symbol": self.symbol.symbol, "problem": why})


def _rebuilt(symbol: Symbol, stored: Sequence[BookChange]) -> BookSnapshot | None:
    """What readers of these events know: the top of the book, that there is none (not consistent), or nothing."""
    book = OrderBook(symbol.symbol)
    told: BookSnapshot | None = None
    for event in stored:
        book.apply(event)
        if isinstance(event, BookSnapshot):
            told = event
    return book.top(1000) or told
