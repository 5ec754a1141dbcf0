"""Order books in files: levels, grouped by the number of the change that they belong to."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from services.marketdata.adapters.file_rows import Row, exact
from services.marketdata.adapters.milliseconds import from_milliseconds
from services.marketdata.domain.book import BookChange, BookDelta, BookSnapshot, Level
from services.runtime.clock import Clock

_BID, _SNAPSHOT = 1, 2
_NANOSECONDS = 1_000_000


def book_changes(symbol: str, rows: Iterable[Row], now: Clock) -> Iterator[BookChange]:
    """The changes of an order book, beginning with the first snapshot; those before it that it lacks follow it."""
    before: list[BookDelta] = []
    newest: int | None = None
    happened = None
    for (kind, update_id), group in groupby(rows, key=lambda row: (row["type"], row["update_id"])):
        levels = list(group)
        # A snapshot has no time of its own.
        happened = _time(levels[0]) or happened or _receive_time(levels[0]) or now()
        if kind == _SNAPSHOT:
            bids, asks = _sides(levels)
            yield BookSnapshot(symbol, update_id, _best_first(bids, -1), _best_first(asks, 1), happened, now())
            newest = update_id
            for delta in before:
                if delta.last_update_id > newest:
                    yield _following(delta, newest)
                    newest = delta.last_update_id
            before = []
            continue
        delta = BookDelta(symbol, update_id, update_id, *_sides(levels), happened, now())
        if newest is None:
            before.append(delta)
        elif update_id > newest:
            yield _following(delta, newest)
            newest = update_id


def _following(delta: BookDelta, newest: int) -> BookDelta:
    """``delta`` with everything since ``newest`` in it: files tell only the last number of a change."""
    return BookDelta(
        delta.symbol, newest + 1, delta.last_update_id, delta.bids, delta.asks, delta.event_time, delta.receive_time
    )


def _sides(rows: Sequence[Row]) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
    bids = tuple(_level(row) for row in rows if row["side"] == _BID)
    return bids, tuple(_level(row) for row in rows if row["side"] != _BID)


def _level(row: Row) -> Level:
    return Level(exact(row["price"]), exact(row["qty"]))


def _best_first(levels: tuple[Level, ...], sign: int) -> tuple[Level, ...]:
    return tuple(sorted(levels, key=lambda level: sign * level.price))


def _time(row: Row) -> datetime | None:
    return from_milliseconds(row["ts"]) if row["ts"] else None


def _receive_time(row: Row) -> datetime | None:
    received: Any = row.get("recv_ns")
    return from_milliseconds(received // _NANOSECONDS) if received else None
