"""Order books that ccxt keeps and checks, told as a snapshot and then as what has changed since."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.marketdata.adapters.milliseconds import from_milliseconds, to_milliseconds
from services.marketdata.domain.book import BookChange, BookDelta, BookSnapshot, Level
from services.marketdata.domain.market import exact

Side = dict[Any, Any]
"""Quantities by price as ccxt has them: numbers are brought into one form only where something has changed."""

_FAR_MS = 3_600_000
"""A book cannot be farther from the exchange's clock than this: partitions are made for the time that it tells."""


class BookDifferences:
    """One order book. ``changes`` of the first book, and of the first after ``begin_again``, is a snapshot."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._bids: Side = {}
        self._asks: Side = {}
        self._update_id: int | None = None

    def begin_again(self) -> None:
        """Forget the book that was told."""
        self._update_id = None

    def changes(self, book: Mapping[str, Any], received: datetime, source_time: datetime) -> list[BookChange]:
        """What is to be told now that ccxt's book is ``book``.

        The numbers are the exchange's where it has growing ones, else they are counted on; ``source_time`` stands in
        where it tells no time, or one that cannot be.
        """
        bids, asks = _side(book["bids"]), _side(book["asks"])
        happened = _time(book.get("timestamp"), source_time)
        known, nonce = self._update_id, book.get("nonce") or 0
        change: BookChange
        if known is None:
            self._update_id = max(nonce, 1)
            change = BookSnapshot(self._symbol, self._update_id, _levels(bids), _levels(asks), happened, received)
        else:
            changed = _levels(_changed(self._bids, bids)), _levels(_changed(self._asks, asks))
            if not any(changed):
                return []
            self._update_id = max(nonce, known + 1)
            change = BookDelta(self._symbol, known + 1, self._update_id, *changed, happened, received)
        self._bids, self._asks = bids, asks
        return [change]


def _time(told: int | None, source_time: datetime) -> datetime:
    if told is None or abs(told - to_milliseconds(source_time)) > _FAR_MS:
        return source_time
    return from_milliseconds(told)


def _side(levels: Iterable[Any]) -> Side:
    return {level[0]: level[1] for level in levels if level[1]}


def _changed(before: Side, now: Side) -> Side:
    if before == now:
        return {}
    gone = {price: Decimal(0) for price in before if price not in now}
    return gone | {price: quantity for price, quantity in now.items() if before.get(price) != quantity}


def _levels(side: Side) -> tuple[Level, ...]:
    return tuple(Level(_exact(price), _exact(quantity)) for price, quantity in side.items())


def _exact(number: Any) -> Decimal:
    return exact(number if isinstance(number, Decimal) else Decimal(str(number)))
