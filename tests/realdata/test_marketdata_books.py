"""Books rebuilt from every recorded change of Binance show the best prices that Binance told.

The two files are aligned by update id: after the changes up to an id the book is compared with the newest best prices
whose id is not greater. The stream of best prices tells each change of them, but not the moments inside the execution
of one order; twice in ten minutes of BTC-USDT a change of the book ends inside one.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from services.marketdata.domain.book import BookChange, BookDelta, BookSnapshot, Level, OrderBook, difference

pytestmark = pytest.mark.realdata

INSIDE_AN_EXECUTION = {"BTC-USDT": {50093478174, 50093480542}, "ETH-USDT": set[int]()}
CHANGES = {"BTC-USDT": 6_493, "ETH-USDT": 6_468}
_SNAPSHOT = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Best = tuple[Decimal, Decimal, Decimal, Decimal]


@pytest.fixture
def recorded() -> Path:
    """The folder of recorded market data."""
    root = os.environ.get("LEVIMESH_MARKETDATA")
    if not root or not Path(root, "l2").is_dir():
        pytest.skip("set LEVIMESH_MARKETDATA to the folder of recorded market data")
    return Path(root)


def rows_of(folder: Path, pair: str, kind: str) -> Iterator[tuple[float, ...]]:
    table = parquet.read_table(folder / f"l2/binance_{pair}_20240808_{kind}.parquet")
    return zip(*(table[name].to_pylist() for name in table.column_names), strict=True)


@cache
def exact(number: float) -> Decimal:
    return Decimal(repr(number))


@cache
def changes_of(folder: Path, pair: str) -> tuple[BookSnapshot, list[BookDelta]]:
    """The snapshot, and the changes that follow it; what Binance sent before it is in it already."""
    snapshot: BookSnapshot | None = None
    deltas: list[BookDelta] = []
    before = 0
    for (update_id, kind), rows in groupby(rows_of(folder, pair, "depth"), key=lambda row: (int(row[6]), int(row[5]))):
        sides: dict[float, list[Level]] = {1: [], -1: []}
        for _, _, side, price, quantity, *_ in rows:
            sides[side].append(Level(exact(price), exact(quantity)))
        bids, asks = tuple(sides[1]), tuple(sides[-1])
        if kind == _SNAPSHOT:
            snapshot = BookSnapshot(pair, update_id, bids, asks, _EPOCH, _EPOCH)
        else:
            # The file has the last number of each change; Binance's first follows the last of the change before.
            deltas.append(BookDelta(pair, before + 1, update_id, bids, asks, _EPOCH, _EPOCH))
            before = update_id
    assert snapshot is not None
    return snapshot, deltas


def best_prices_of(folder: Path, pair: str) -> Iterator[tuple[int, Best]]:
    for _, _, update_id, bid, bid_quantity, ask, ask_quantity in rows_of(folder, pair, "bbo"):
        yield int(update_id), (exact(bid), exact(bid_quantity), exact(ask), exact(ask_quantity))


def best_of(book: OrderBook) -> Best:
    top = book.top(1)
    assert top is not None
    (bid,), (ask,) = top.bids, top.asks
    return bid.price, bid.quantity, ask.price, ask.quantity


def test_the_books_best_prices_are_those_that_were_told_at_every_event(recorded: Path) -> None:
    for pair, expected in CHANGES.items():
        snapshot, deltas = changes_of(recorded, pair)
        told = iter(best_prices_of(recorded, pair))
        newest, following = next(told), next(told, None)
        book = OrderBook(pair)
        assert book.apply(snapshot)
        compared, same_id, differing = 0, 0, set[int]()
        for delta in deltas:
            assert book.apply(delta)
            while following is not None and following[0] <= delta.last_update_id:
                newest, following = following, next(told, None)
            if delta.last_update_id <= snapshot.update_id:
                continue
            compared += 1
            same_id += newest[0] == delta.last_update_id
            if best_of(book) != newest[1]:
                differing.add(delta.last_update_id)

        assert compared == expected
        assert differing == INSIDE_AN_EXECUTION[pair]
        assert same_id > 1_000


@pytest.mark.parametrize("pair", CHANGES)
@pytest.mark.parametrize("depth", [5, 100])
def test_a_reader_of_the_changes_of_the_top_has_the_top_of_the_whole_book(
    recorded: Path, pair: str, depth: int
) -> None:
    snapshot, deltas = changes_of(recorded, pair)
    book, reader = OrderBook(pair), OrderBook(pair)
    book.apply(snapshot)
    tops = [book.top(depth)]
    # As a keeper publishes: not every change, but the difference that some of them make.
    for index, delta in enumerate(deltas):
        book.apply(delta)
        if index % 7 == 0:
            tops.append(book.top(depth))

    first, *_ = tops
    assert first is not None
    assert reader.apply(first)
    for before, after in pairwise(tops):
        assert before is not None
        assert after is not None
        change = difference(before, after)
        if change is not None:
            assert reader.apply(change)
        seen = reader.top(depth)
        assert seen is not None
        assert (seen.bids, seen.asks) == (after.bids, after.asks)


@pytest.mark.parametrize("pair", CHANGES)
def test_a_lost_change_is_noticed_at_once_and_a_snapshot_makes_the_book_whole_again(recorded: Path, pair: str) -> None:
    snapshot, deltas = changes_of(recorded, pair)
    whole, holed = OrderBook(pair), OrderBook(pair)
    lost = len(deltas) // 2
    arriving: list[BookChange] = [snapshot, *deltas]
    noticed = []
    for index, change in enumerate(arriving):
        assert whole.apply(change)
        if index != lost and not holed.apply(change):
            noticed.append(index)
        if index == lost + 50:
            # What the exchange answers when it is asked for a snapshot.
            again = whole.top(100_000)
            assert again is not None
            assert not holed.is_consistent
            assert holed.apply(again)

    assert noticed == [lost + 1]
    assert holed.top(100_000) == whole.top(100_000)
    assert holed.is_consistent
