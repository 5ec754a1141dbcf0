"""Order books for the tests, and a source of them that a test writes."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.marketdata.domain.book import BookChange, BookDelta, BookSnapshot, Level
from services.marketdata.domain.market import Symbol
from services.marketdata.ports.leases import Lease, LeaseLost
from services.marketdata.ports.sources import SourceFinished, SourceUnavailable
from tests.unit.marketdata.builders import BTC, at

Sides = dict[str, str]


def a_symbol(depth: int = 5, **changes: Any) -> Symbol:
    """BTC-USDT, whose book is followed."""
    step = Decimal("0.01")
    symbol = Symbol(BTC, "BTC", "USDT", "simex", "BTC/USDT", step, step, Decimal(10), book_depth=depth)
    return replace(symbol, **changes)


def levels(side: Sides) -> tuple[Level, ...]:
    """Levels in the order given."""
    return tuple(Level(Decimal(price), Decimal(quantity)) for price, quantity in side.items())


def a_snapshot(update_id: int, bids: Sides, asks: Sides, second: float = 0, sequence: int = 0) -> BookSnapshot:
    """A whole book."""
    return BookSnapshot(BTC, update_id, levels(bids), levels(asks), at(second), at(second), sequence=sequence)


def a_delta(first: int, last: int, bids: Sides, asks: Sides, second: float = 0, sequence: int = 0) -> BookDelta:
    """A change."""
    return BookDelta(BTC, first, last, levels(bids), levels(asks), at(second), at(second), sequence=sequence)


class ScriptedSource:
    """The books of a source: what the test puts into it comes out of it."""

    name = "simex"

    def __init__(self) -> None:
        self._news: asyncio.Queue[Sequence[BookChange] | Exception] = asyncio.Queue()
        self.resyncs = 0
        self._taken = asyncio.Event()

    async def tells(self, *changes: BookChange) -> None:
        """It tells changes, and they are taken in."""
        await self._put(changes)

    async def breaks(self, problem: str | Exception = "no connection") -> None:
        """It is lost, and that is noticed."""
        await self._put(SourceUnavailable(problem) if isinstance(problem, str) else problem)

    def ends(self) -> None:
        """It has told all that it will ever have."""
        self._news.put_nowait(SourceFinished("all has been read"))

    async def book(self, symbol: Symbol) -> list[BookChange]:
        if self._news.empty():
            self._taken.set()
        news = await self._news.get()
        self._taken.clear()
        if isinstance(news, Exception):
            raise news
        return list(news)

    async def resync_book(self, symbol: Symbol) -> None:
        self.resyncs += 1

    async def _put(self, news: Sequence[BookChange] | Exception) -> None:
        self._taken.clear()
        self._news.put_nowait(news)
        async with asyncio.timeout(5):
            await self._taken.wait()


class RememberedBooks:
    """A store of books in memory."""

    def __init__(self) -> None:
        self.events: list[BookChange] = []
        self.is_away = False
        self.lease_is_lost = False

    async def add(self, events: Sequence[BookChange], lease: Lease | None) -> list[BookChange]:
        if self.lease_is_lost:
            raise LeaseLost("another replica has it")
        if self.is_away:
            raise OSError("the store is away")
        last = self.events[-1].sequence if self.events else 0
        stored: list[BookChange] = [replace(event, sequence=last + index) for index, event in enumerate(events, 1)]
        self.events += stored
        return stored

    async def symbols(self) -> list[str]:
        return sorted({event.symbol for event in self.events})

    async def newest(self, symbol: str) -> list[BookChange]:
        begins = [index for index, event in enumerate(self.events) if isinstance(event, BookSnapshot)]
        return self.events[begins[-1] :] if begins else []

    async def after(self, symbol: str, sequence: int, limit: int) -> list[BookChange]:
        return [event for event in self.events if event.sequence > sequence][:limit]

    async def drop_expired(self, before: datetime) -> None:
        self.events = [event for event in self.events if event.event_time >= before]
