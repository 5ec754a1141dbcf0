"""Order books."""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, localcontext

_DIGITS = 60
"""More than prices, quantities and their sums have, so that none is rounded."""


@dataclass(frozen=True, slots=True)
class Level:
    """All that waits at one price."""

    price: Decimal
    quantity: Decimal
    """0 in a delta: nothing waits there any more."""


@dataclass(frozen=True, slots=True)
class BookSnapshot:
    """A whole book, the best price of each side first."""

    symbol: str
    update_id: int
    """The source's number of the last change in it."""
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    event_time: datetime
    receive_time: datetime
    consistent: bool = True
    """False where it only says that what was known before is void; it has no levels then."""
    sequence: int = field(default=0, compare=False)
    """Its place in the line of the symbol's stored book events, from 1; 0 while it is not stored."""

    @property
    def is_crossed(self) -> bool:
        """Whether a bid reaches an ask, which no true book shows."""
        return bool(self.bids and self.asks) and self.bids[0].price >= self.asks[0].price

    @property
    def mid_price(self) -> Decimal | None:
        """Half way between the best bid and the best ask; None while a side is empty."""
        if not self.bids or not self.asks:
            return None
        with localcontext(prec=_DIGITS):
            return (self.bids[0].price + self.asks[0].price) / 2

    @property
    def spread(self) -> Decimal | None:
        """The best ask less the best bid; None while a side is empty."""
        if not self.bids or not self.asks:
            return None
        with localcontext(prec=_DIGITS):
            return self.asks[0].price - self.bids[0].price

    @property
    def imbalance(self) -> float:
        """(bid quantity - ask quantity) / (bid quantity + ask quantity), -1 to 1; 0 where nothing waits."""
        with localcontext(prec=_DIGITS):
            bids = sum((level.quantity for level in self.bids), Decimal(0))
            asks = sum((level.quantity for level in self.asks), Decimal(0))
            return float((bids - asks) / (bids + asks)) if bids + asks else 0.0


@dataclass(frozen=True, slots=True)
class BookDelta:
    """The levels that are otherwise after the changes ``first_update_id`` to ``last_update_id``."""

    symbol: str
    first_update_id: int
    last_update_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    event_time: datetime
    receive_time: datetime
    sequence: int = field(default=0, compare=False)
    """Its place in the line of the symbol's stored book events, from 1; 0 while it is not stored."""


BookChange = BookSnapshot | BookDelta


class _Side:
    """One side of a book: quantities by price, and the prices in order."""

    def __init__(self, *, best_is_highest: bool) -> None:
        self._best_is_highest = best_is_highest
        self._prices: list[Decimal] = []
        self._quantities: dict[Decimal, Decimal] = {}

    def __len__(self) -> int:
        return len(self._prices)

    def replace(self, levels: Iterable[Level]) -> None:
        """Forget everything but ``levels``."""
        self._quantities = {level.price: level.quantity for level in levels if level.quantity}
        self._prices = sorted(self._quantities)

    def put(self, levels: Iterable[Level]) -> None:
        """Change ``levels``; those whose quantity is 0 vanish."""
        prices, quantities = self._prices, self._quantities
        for level in levels:
            price = level.price
            if level.quantity:
                if price not in quantities:
                    # Moving some thousand references costs less than any tree does.
                    prices.insert(bisect_left(prices, price), price)
                quantities[price] = level.quantity
            elif price in quantities:
                del quantities[price]
                del prices[bisect_left(prices, price)]

    @property
    def best(self) -> Decimal | None:
        """The best price; None where nothing waits."""
        if not self._prices:
            return None
        return self._prices[-1] if self._best_is_highest else self._prices[0]

    @property
    def worst(self) -> Decimal | None:
        """The worst price; None where nothing waits."""
        if not self._prices:
            return None
        return self._prices[0] if self._best_is_highest else self._prices[-1]

    def top(self, depth: int) -> tuple[Level, ...]:
        """The best ``depth`` levels, the best first."""
        prices = self._prices[: -depth - 1 : -1] if self._best_is_highest else self._prices[:depth]
        return tuple(Level(price, self._quantities[price]) for price in prices)


class OrderBook:
    """The book of one symbol, kept by a snapshot and the changes after it.

    It is consistent while every change since the snapshot is in it and no bid reaches an ask. Once it is not, only
    another snapshot helps: changes are ignored until then.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.update_id = 0
        self._bids = _Side(best_is_highest=True)
        self._asks = _Side(best_is_highest=False)
        self._snapshot = (0, 0)
        self._worst: tuple[Decimal | None, Decimal | None] = (None, None)
        self._event_time: datetime | None = None
        self._receive_time: datetime | None = None

    @property
    def is_consistent(self) -> bool:
        """Whether it is the book of its source."""
        return self._event_time is not None

    @property
    def depth(self) -> tuple[int, int]:
        """How many bids and asks there are."""
        return len(self._bids), len(self._asks)

    def apply(self, change: BookChange) -> bool:
        """Take in a change; False where the book has become inconsistent by it, so that a snapshot is needed.

        A change that is in the book already, or that comes while a snapshot is awaited, does nothing.
        """
        if isinstance(change, BookSnapshot):
            return self._begin(change)
        if not self.is_consistent or change.last_update_id <= self.update_id:
            return True
        if change.first_update_id > self.update_id + 1:
            self.void()
            return False
        self._bids.put(change.bids)
        self._asks.put(change.asks)
        self.update_id = change.last_update_id
        self._event_time, self._receive_time = change.event_time, change.receive_time
        return self._is_sound()

    def void(self) -> None:
        """What is known is no longer sure: wait for a snapshot."""
        self._event_time = self._receive_time = None
        self._bids.replace(())
        self._asks.replace(())

    def top(self, depth: int) -> BookSnapshot | None:
        """The best ``depth`` levels of each side; None while the book is not consistent."""
        if self._event_time is None or self._receive_time is None:
            return None
        return BookSnapshot(
            self.symbol,
            self.update_id,
            self._bids.top(depth),
            self._asks.top(depth),
            self._event_time,
            self._receive_time,
        )

    def reaches_beyond_snapshot(self, depth: int) -> bool:
        """Whether the best ``depth`` levels of a side reach prices that the snapshot did not.

        An exchange gives a limited snapshot and tells only what changes after it: what has waited beyond its worst
        price all the time is missing. A side of fewer levels than ``depth`` is taken for a whole one.
        """
        top = self.top(depth)
        if top is None:
            return False
        (bids, asks), (worst_bid, worst_ask) = self._snapshot, self._worst
        low = worst_bid is not None and bids > depth and bool(top.bids) and top.bids[-1].price < worst_bid
        high = worst_ask is not None and asks > depth and bool(top.asks) and top.asks[-1].price > worst_ask
        return low or high

    def _begin(self, snapshot: BookSnapshot) -> bool:
        if not snapshot.consistent:
            self.void()
            return True
        self._bids.replace(snapshot.bids)
        self._asks.replace(snapshot.asks)
        self._snapshot, self._worst = self.depth, (self._bids.worst, self._asks.worst)
        self.update_id = snapshot.update_id
        self._event_time, self._receive_time = snapshot.event_time, snapshot.receive_time
        return self._is_sound()

    def _is_sound(self) -> bool:
        bid, ask = self._bids.best, self._asks.best
        if bid is not None and ask is not None and bid >= ask:
            self.void()
            return False
        return True


def difference(before: BookSnapshot, after: BookSnapshot) -> BookDelta | None:
    """The change that makes ``after`` of ``before``; None where it changes no level.

    Both may be the top of a deeper book: a level that fell out of the top is removed, one that came into it is added.
    """
    bids, asks = _changed(before.bids, after.bids), _changed(before.asks, after.asks)
    if not bids and not asks:
        return None
    return BookDelta(
        after.symbol,
        before.update_id + 1,
        after.update_id,
        bids,
        asks,
        after.event_time,
        after.receive_time,
    )


def _changed(before: tuple[Level, ...], after: tuple[Level, ...]) -> tuple[Level, ...]:
    old = {level.price: level.quantity for level in before}
    changed = [level for level in after if old.pop(level.price, None) != level.quantity]
    return (*(Level(price, Decimal(0)) for price in old), *changed)
