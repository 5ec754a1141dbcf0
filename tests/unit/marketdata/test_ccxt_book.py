"""What is told of an order book that ccxt keeps."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from ccxt.async_support.base.ws.order_book import OrderBook as CcxtBook
from hypothesis import given
from hypothesis import strategies as st

from services.marketdata.adapters.ccxt_book import BookDifferences
from services.marketdata.domain.book import BookDelta, BookSnapshot, Level, OrderBook
from tests.unit.marketdata.builders import BTC, at

RECEIVED, TOLD = at(0), at(-3600)
_SIDE = st.dictionaries(st.integers(1, 30).map(Decimal), st.integers(0, 3).map(Decimal), max_size=8)


def a_book(nonce: int | None, time: datetime | None = None) -> Any:
    milliseconds = None if time is None else int(time.timestamp() * 1000)
    return CcxtBook({"nonce": nonce, "timestamp": milliseconds, "bids": [], "asks": []})


def change(book: Any, bids: dict[Decimal, Decimal], asks: dict[Decimal, Decimal]) -> None:
    """Change ccxt's book as its exchanges do; the asks stand above the bids."""
    for price, quantity in bids.items():
        book["bids"].store(price, quantity)
    for price, quantity in asks.items():
        book["asks"].store(price + 100, quantity)


@given(st.lists(st.tuples(_SIDE, _SIDE), min_size=1, max_size=8))
def test_what_is_told_makes_the_book_that_ccxt_has(changes: list[tuple[dict[Decimal, Decimal], ...]]) -> None:
    theirs, ours, differences = a_book(0), OrderBook(BTC), BookDifferences(BTC)
    for nonce, (bids, asks) in enumerate(changes, 1):
        change(theirs, bids, asks)
        theirs["nonce"] = nonce
        for told in differences.changes(theirs, RECEIVED, TOLD):
            assert ours.apply(told)

    top = ours.top(100)
    assert top is not None
    assert top.bids == tuple(Level(price, quantity) for price, quantity in theirs["bids"])
    assert top.asks == tuple(Level(price, quantity) for price, quantity in theirs["asks"])


def test_a_book_without_a_time_happened_by_the_sources_clock_and_not_by_ours() -> None:
    book, differences = a_book(7), BookDifferences(BTC)

    (snapshot,) = differences.changes(book, RECEIVED, TOLD)
    change(book, {Decimal("1.50"): Decimal("2.0")}, {})
    book["timestamp"] = int((TOLD + timedelta(seconds=5)).timestamp() * 1000)
    book["nonce"] = 9
    (delta,) = differences.changes(book, RECEIVED, TOLD)

    assert snapshot == BookSnapshot(BTC, 7, (), (), TOLD, RECEIVED)
    level = Level(Decimal("1.5"), Decimal(2))
    assert delta == BookDelta(BTC, 8, 9, (level,), (), TOLD + timedelta(seconds=5), RECEIVED)
    assert differences.changes(book, RECEIVED, TOLD) == []


@pytest.mark.parametrize("time", [datetime(1970, 1, 1, tzinfo=UTC), TOLD + timedelta(hours=2), None])
def test_a_time_that_cannot_be_is_not_believed(time: datetime | None) -> None:
    (snapshot,) = BookDifferences(BTC).changes(a_book(7, time), RECEIVED, TOLD)

    assert snapshot.event_time == TOLD


def test_changes_are_counted_where_the_exchange_has_no_numbers_and_after_a_loss_a_snapshot_comes() -> None:
    book, differences = a_book(None), BookDifferences(BTC)

    (first,) = differences.changes(book, RECEIVED, TOLD)
    change(book, {Decimal(1): Decimal(2)}, {})
    (second,) = differences.changes(book, RECEIVED, TOLD)
    differences.begin_again()
    (third,) = differences.changes(book, RECEIVED, TOLD)

    assert isinstance(first, BookSnapshot)
    assert isinstance(second, BookDelta)
    assert (first.update_id, second.first_update_id, second.last_update_id) == (1, 2, 2)
    assert third == BookSnapshot(BTC, 1, (Level(Decimal(1), Decimal(2)),), (), TOLD, RECEIVED)
