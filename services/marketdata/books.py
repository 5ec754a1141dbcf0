"""The order books of all symbols in the memory of a replica, as they were published."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from services.marketdata.domain.book import BookChange, BookSnapshot, OrderBook
from services.marketdata.errors import BookNotAvailable
from services.marketdata.ports.books import BookStore
from services.runtime.clock import Clock
from services.runtime.errors import DependencyUnavailable

_log = logging.getLogger(__name__)

_DEEPEST = 1000


class _Followed:
    """One book, and how far along its line it is."""

    def __init__(self, symbol: str) -> None:
        self.book = OrderBook(symbol)
        self.sequence = 0
        self.heard_at = float("-inf")
        """When something was last heard of it, by this process's clock."""
        self._received: datetime | None = None

    def take_in(self, event: BookChange, heard_at: float) -> bool:
        """Take in an event of the line; False where events before it are missing."""
        if event.sequence <= self.sequence and not self._begins_anew(event):
            return True
        if not isinstance(event, BookSnapshot) and event.sequence != self.sequence + 1:
            self.book.void()
            self.sequence = 0
            return False
        self.book.apply(event)
        self.sequence, self.heard_at, self._received = event.sequence, heard_at, event.receive_time
        return True

    def _begins_anew(self, event: BookChange) -> bool:
        """Whether the line goes on from an earlier number, as after the database was restored from a backup."""
        return isinstance(event, BookSnapshot) and self._received is not None and event.receive_time > self._received


class Books:
    """Serves the books that the leaders of the sources tell. ``take_in`` gets what the journal brings.

    ``vouch`` raises DependencyUnavailable while the journal cannot be read. A book of which nothing was heard for
    ``stale_seconds`` is followed by nobody: its leader tells it again before that.
    """

    def __init__(self, store: BookStore, vouch: Callable[[], None], stale_seconds: float, now: Clock) -> None:
        self._store = store
        self._vouch = vouch
        self._stale_seconds = stale_seconds
        self._now = now
        self._followed: dict[str, _Followed] = {}
        self._missing: set[str] = set()
        self._is_missing = asyncio.Event()

    def take_in(self, events: Sequence[BookChange]) -> None:
        """Take in events that were published, those of a symbol in order."""
        heard_at = asyncio.get_running_loop().time()
        for event in events:
            followed = self._followed.setdefault(event.symbol, _Followed(event.symbol))
            if not followed.take_in(event, heard_at):
                self._miss(event.symbol)

    async def run(self) -> None:
        """Load the books that are stored, and those of which events are missing, for ever."""
        for symbol in await self._store.symbols():
            self._miss(symbol)
        while True:
            await self._is_missing.wait()
            self._is_missing.clear()
            while self._missing:
                await self._load(self._missing.pop())

    def snapshot(self, symbol: str) -> BookSnapshot:
        """The book of ``symbol`` as far as it was published; the events behind its ``sequence`` follow it.

        Raises BookNotAvailable.
        """
        followed = self._followed.get(symbol)
        if followed is None:
            raise _not_now(symbol, "nothing was heard of it yet")
        try:
            self._vouch()
        except DependencyUnavailable:
            raise _not_now(symbol, "the journal is away") from None
        top = followed.book.top(_DEEPEST)
        if top is None:
            raise _not_now(symbol, "it is being synchronised with its source")
        if asyncio.get_running_loop().time() - followed.heard_at > self._stale_seconds:
            raise _not_now(symbol, "nothing was heard of it lately")
        return replace(top, sequence=followed.sequence)

    async def _load(self, symbol: str) -> None:
        """Take in what is stored; it reaches at least as far as what was published."""
        events = await self._store.newest(symbol)
        if not events:
            return
        followed = self._followed.setdefault(symbol, _Followed(symbol))
        age = (self._now() - events[-1].receive_time).total_seconds()
        heard_at = max(asyncio.get_running_loop().time() - age, followed.heard_at)
        for event in events:
            followed.take_in(event, heard_at)

    def _miss(self, symbol: str) -> None:
        self._missing.add(symbol)
        self._is_missing.set()


def _not_now(symbol: str, why: str) -> BookNotAvailable:
    text = f"the order book of {symbol} cannot be told now: {why}; try again in a second"
    error = BookNotAvailable(text, symbol=symbol)
    error.retry_after = 1.0
    return error
