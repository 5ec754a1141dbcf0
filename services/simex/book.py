"""The order book: like the trades, a function of time alone.

The best bid and ask stand around the last trade, a tick apart. Behind them one level lies in each cell of a fixed
grid of prices; where in its cell, how large, and how long until its size changes come from a hash of the seed and the
cell, so a book differs from the one before it in few levels, as a real one does. Orders do not consume it: they are
small.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.simex.market import Listing

LEVELS = 500
"""Levels on each side."""
_CELL = 1e-5
"""Width of a cell of the grid, as a fraction of the first price."""
_QUOTE_PER_LEVEL = 8_000.0
_SHORTEST_LIFE_MS, _LONGEST_LIFE_MS = 500, 12_000

_Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Book:
    """Quantities by price in steps and ticks, best price first; ``version`` is Binance's update id."""

    version: int
    bids: dict[int, int]
    asks: dict[int, int]

    def side(self, buy: bool) -> dict[int, int]:
        """What a taker who buys (or sells) meets."""
        return self.asks if buy else self.bids


class BookChanges:
    """The prices at which a book has changed since the last time they were taken."""

    def __init__(self, version: int) -> None:
        self._version = version
        self._bids: set[int] = set()
        self._asks: set[int] = set()

    def note(self, before: Book, after: Book) -> None:
        """Remember where two books differ."""
        self._bids.update(price for price, _ in before.bids.items() ^ after.bids.items())
        self._asks.update(price for price, _ in before.asks.items() ^ after.asks.items())

    def take(self, book: Book) -> tuple[int, Book] | None:
        """The first update id and the changed levels (0 where a level is gone), or None when nothing has changed."""
        if not self._bids and not self._asks:
            return None
        first = self._version + 1
        bids = {price: book.bids.get(price, 0) for price in sorted(self._bids, reverse=True)}
        asks = {price: book.asks.get(price, 0) for price in sorted(self._asks)}
        self._version, self._bids, self._asks = book.version, set(), set()
        return first, Book(book.version, bids, asks)


class BookMaker:
    """Makes the book of one symbol at any time, and tells what changed between the books that were seen."""

    def __init__(self, listing: Listing, seed: int, speed: float) -> None:
        self._listing = listing
        self._seed = seed
        self._pace = max(1.0, speed)
        self._latest = Book(-1, {}, {})
        self._cell = 0
        self._followers: set[BookChanges] = set()

    def follow(self) -> BookChanges:
        """Changes from this moment on, until they are given to :meth:`unfollow`."""
        changes = BookChanges(self.now().version)
        self._followers.add(changes)
        return changes

    def unfollow(self, changes: BookChanges) -> None:
        """Stop noting ``changes``."""
        self._followers.discard(changes)

    def now(self) -> Book:
        """The book of this moment; empty before the first trade."""
        now_ms = self._listing.seen_until() - 1
        if self._latest.version != now_ms:
            before, self._latest = self._latest, self._make(now_ms)
            for changes in self._followers:
                changes.note(before, self._latest)
        return self._latest

    def _make(self, now_ms: int) -> Book:
        last = self._listing.last_trades(1)
        if not len(last):
            return Book(now_ms, {}, {})
        price = int(last.prices[0])
        bid, ask = (price - 1, price) if last.taker_buys[0] else (price, price + 1)
        if not self._cell:
            first = self._listing.trades_from(0, 1)
            self._cell = max(1, round(int(first.prices[0]) * _CELL))
        return Book(now_ms, self._side(bid, -1, now_ms), self._side(ask, 1, now_ms))

    def _side(self, touch: int, direction: int, now_ms: int) -> dict[int, int]:
        cells = touch // self._cell + direction * np.arange(LEVELS + 1)
        places = _hash(cells, self._seed)
        prices = cells * self._cell + (places % np.uint64(self._cell)).astype(np.int64)
        behind = prices[(prices - touch) * direction > 0]
        levels = np.concatenate(([touch], behind))[:LEVELS]
        levels = levels[levels > 0]
        return dict(zip(levels.tolist(), self._sizes(levels, touch, now_ms).tolist(), strict=True))

    def _sizes(self, levels: npt.NDArray[np.int64], touch: int, now_ms: int) -> npt.NDArray[np.int64]:
        habits = _hash(levels, self._seed + 1)
        span = _LONGEST_LIFE_MS - _SHORTEST_LIFE_MS
        lives = ((_SHORTEST_LIFE_MS + (habits % np.uint64(span)).astype(np.int64)) * self._pace).astype(np.int64)
        life = (now_ms + (habits >> np.uint64(32)).astype(np.int64) % lives) // lives
        draws = (_hash(levels * 1_000_003 + life, self._seed + 2) >> np.uint64(11)).astype(np.float64) / 2**53
        instrument = self._listing.instrument
        steps = _QUOTE_PER_LEVEL / (touch / 10.0**instrument.price_decimals) * 10.0**instrument.quantity_decimals
        # -log(1-u) is exponential: many small levels and a few large ones.
        return np.maximum(1, np.rint(-np.log1p(-draws) * steps)).astype(np.int64)


def _hash(keys: npt.NDArray[np.int64], seed: int) -> _Hashes:
    """SplitMix64 (Steele, Lea, Flood 2014) of each key."""
    mixed = keys.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
