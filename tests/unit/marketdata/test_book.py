"""Order books: what changes do to them, and when they have to begin again."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.marketdata.domain.book import BookDelta, BookSnapshot, Level, OrderBook, difference
from tests.unit.marketdata.builders import BTC, at

Side = dict[Decimal, Decimal]

_PRICES = st.integers(1, 60).map(lambda cents: Decimal(cents) / 4)
_QUANTITIES = st.integers(0, 4).map(lambda lots: Decimal(lots) / 8)
_CHANGES = st.lists(st.dictionaries(_PRICES, _QUANTITIES, max_size=6), max_size=12)
_SIDES = st.dictionaries(_PRICES, st.integers(1, 4).map(Decimal), max_size=30)


def levels(side: Side) -> tuple[Level, ...]:
    return tuple(Level(price, quantity) for price, quantity in side.items())


def a_snapshot(update_id: int, bids: Side, asks: Side) -> BookSnapshot:
    return BookSnapshot(
        BTC,
        update_id,
        levels(dict(sorted(bids.items(), reverse=True))),
        levels(dict(sorted(asks.items()))),
        at(0),
        at(1),
    )


def a_delta(first: int, last: int, bids: Side, asks: Side) -> BookDelta:
    return BookDelta(BTC, first, last, levels(bids), levels(asks), at(2), at(3))


def a_book(update_id: int = 10) -> OrderBook:
    book = OrderBook(BTC)
    book.apply(a_snapshot(update_id, {Decimal(99): Decimal(1), Decimal(98): Decimal(2)}, {Decimal(101): Decimal(3)}))
    return book


@given(_SIDES, _SIDES, _CHANGES, _CHANGES, st.integers(0, 40))
def test_any_changes_make_the_book_that_a_plain_dictionary_makes(
    bids: Side, asks: Side, bid_changes: list[Side], ask_changes: list[Side], depth: int
) -> None:
    # The asks stand above all bids, so that none of the books is crossed.
    above = Decimal(100)
    book = OrderBook(BTC)
    asks = {price + above: quantity for price, quantity in asks.items()}
    book.apply(a_snapshot(0, bids, asks))
    steps = max(len(bid_changes), len(ask_changes))
    for step in range(steps):
        bid_change = bid_changes[step] if step < len(bid_changes) else {}
        ask_change = {p + above: q for p, q in (ask_changes[step] if step < len(ask_changes) else {}).items()}
        assert book.apply(a_delta(step + 1, step + 1, bid_change, ask_change))
        bids, asks = bids | bid_change, asks | ask_change

    top = book.top(depth)
    assert top is not None
    waiting = [(price, quantity) for price, quantity in bids.items() if quantity]
    offered = [(price, quantity) for price, quantity in asks.items() if quantity]
    assert top.bids == levels(dict(sorted(waiting, reverse=True)[:depth]))
    assert top.asks == levels(dict(sorted(offered)[:depth]))
    assert book.depth == (len(waiting), len(offered))
    assert book.update_id == steps


@given(_SIDES, _SIDES, _SIDES, _SIDES)
def test_the_difference_of_two_books_makes_the_one_of_the_other(
    bids: Side, asks: Side, new_bids: Side, new_asks: Side
) -> None:
    above = Decimal(100)
    before = a_snapshot(5, bids, {price + above: quantity for price, quantity in asks.items()})
    after = a_snapshot(9, new_bids, {price + above: quantity for price, quantity in new_asks.items()})
    book = OrderBook(BTC)
    book.apply(before)

    delta = difference(before, after)

    if delta is None:
        assert (before.bids, before.asks) == (after.bids, after.asks)
        return
    assert (delta.first_update_id, delta.last_update_id) == (6, 9)
    assert book.apply(delta)
    top = book.top(100)
    assert top is not None
    assert (top.update_id, top.bids, top.asks) == (9, after.bids, after.asks)


def test_a_level_that_falls_out_of_the_top_is_removed_and_one_that_comes_into_it_is_added() -> None:
    book = a_book()
    before = book.top(2)
    book.apply(a_delta(11, 11, {Decimal(100): Decimal(5)}, {}))
    after = book.top(2)

    assert before is not None
    assert after is not None
    assert difference(before, after) == BookDelta(
        BTC,
        11,
        11,
        (Level(Decimal(98), Decimal(0)), Level(Decimal(100), Decimal(5))),
        (),
        at(2),
        at(3),
    )


@pytest.mark.parametrize(("first", "last"), [(9, 10), (5, 9)])
def test_a_change_that_is_in_the_snapshot_already_changes_nothing(first: int, last: int) -> None:
    book = a_book()

    assert book.apply(a_delta(first, last, {Decimal(99): Decimal(0)}, {}))

    assert book.top(5) == a_book().top(5)


@pytest.mark.parametrize("first", [7, 10, 11])
def test_a_change_that_reaches_beyond_the_snapshot_is_taken(first: int) -> None:
    book = a_book()

    assert book.apply(a_delta(first, 12, {Decimal(99): Decimal(0)}, {}))

    top = book.top(5)
    assert top is not None
    assert (top.update_id, top.bids[0].price) == (12, Decimal(98))


def test_after_a_hole_the_book_is_none_until_a_snapshot_comes() -> None:
    book = a_book()

    assert not book.apply(a_delta(12, 13, {Decimal(99): Decimal(0)}, {}))
    assert not book.is_consistent
    assert book.top(5) is None
    assert book.apply(a_delta(14, 15, {Decimal(99): Decimal(7)}, {}))
    assert book.top(5) is None

    assert book.apply(a_snapshot(20, {Decimal(97): Decimal(1)}, {}))
    top = book.top(5)
    assert top is not None
    assert (top.update_id, top.bids, top.asks) == (20, (Level(Decimal(97), Decimal(1)),), ())


@pytest.mark.parametrize("bid", ["101", "102"])
def test_a_book_whose_bid_reaches_an_ask_is_not_consistent(bid: str) -> None:
    book = a_book()

    assert not book.apply(a_delta(11, 11, {Decimal(bid): Decimal(1)}, {}))
    assert book.top(5) is None
    assert not book.apply(a_snapshot(12, {Decimal(bid): Decimal(1)}, {Decimal(101): Decimal(1)}))
    assert book.top(5) is None


def test_a_snapshot_that_voids_the_book_leaves_none() -> None:
    book = a_book()

    assert book.apply(BookSnapshot(BTC, 0, (), (), at(5), at(5), consistent=False))

    assert not book.is_consistent
    assert book.depth == (0, 0)


def test_mid_price_spread_and_imbalance_are_those_of_the_levels() -> None:
    top = a_book().top(1)

    assert top is not None
    assert (top.mid_price, top.spread, top.imbalance) == (Decimal(100), Decimal(2), -0.5)


@pytest.mark.parametrize(("bids", "asks", "imbalance"), [({Decimal(1): Decimal(2)}, {}, 1.0), ({}, {}, 0.0)])
def test_a_book_with_an_empty_side_has_neither_mid_price_nor_spread(bids: Side, asks: Side, imbalance: float) -> None:
    book = a_snapshot(1, bids, asks)

    assert (book.mid_price, book.spread, book.imbalance) == (None, None, imbalance)


def test_the_mid_price_is_exact_whatever_the_digits() -> None:
    bid, ask = Decimal("123456789012345678.000000000000000001"), Decimal("123456789012345678.000000000000000004")

    assert a_snapshot(1, {bid: Decimal(1)}, {ask: Decimal(1)}).mid_price == Decimal(
        "123456789012345678.0000000000000000025"
    )
