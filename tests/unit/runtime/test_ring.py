"""The ring of a topic's newest events, and readers in it."""

from collections.abc import Sequence

import pytest

from levimesh.common.v1 import streaming_pb2
from services.runtime.errors import SlowReaderCut
from services.runtime.journal import Entry
from services.runtime.ring import MOST_BYTES, MOST_ENTRIES, Entries, Lost, Ring
from services.runtime.ring_reader import Reader

CONFLATED = streaming_pb2.GAP_CAUSE_CONFLATED


def a_ring(capacity: int = 1000, capacity_bytes: int = 1 << 30) -> Ring:
    ring = Ring(capacity, capacity_bytes)
    ring.offset = "0-0"
    return ring


def put(ring: Ring, *numbers: int, key: str = "k", size: int = 0) -> None:
    ring.extend([Entry(f"{number}-0", key, str(number).encode().ljust(size)) for number in numbers])


def numbers_in(item: object) -> list[int]:
    assert isinstance(item, Entries)
    return [int(entry.event) for entry in item.entries]


def all_of(reader: Reader) -> list[list[int]]:
    """Everything that waits, item by item."""
    items = []
    while (item := reader.take()) is not None:
        items.append(numbers_in(item))
    return items


def test_an_item_holds_whatever_is_waiting() -> None:
    ring = a_ring()
    reader = Reader(ring, None, conflates=False)
    assert reader.take() is None
    put(ring, 1, 2)
    put(ring, 3)
    assert reader.is_behind
    assert all_of(reader) == [[1, 2, 3]]
    assert not reader.is_behind
    assert reader.offset == "3-0"


def test_an_item_is_never_larger_than_a_message_may_be() -> None:
    ring = a_ring()
    reader = Reader(ring, None, conflates=False)
    put(ring, *range(1, 11), size=MOST_BYTES // 3)
    put(ring, 11, size=3 * MOST_BYTES)
    put(ring, 12)
    assert all_of(reader) == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10], [11], [12]]
    put(ring, *range(20, 20 + MOST_ENTRIES + 1))
    assert [len(item) for item in all_of(reader)] == [MOST_ENTRIES, 1]


def test_readers_of_the_same_share_one_item_and_what_it_is_packed_into() -> None:
    ring = a_ring()
    first, second = (Reader(ring, frozenset({"a", "b"}), conflates=False) for _ in range(2))
    other = Reader(ring, frozenset({"a"}), conflates=False)
    put(ring, 1, key="a")
    put(ring, 2, key="b")
    packed = 0

    def pack(entries: Sequence[Entry]) -> bytes:
        nonlocal packed
        packed += 1
        return b"".join(entry.event for entry in entries)

    items = [reader.take() for reader in (first, second, other)]
    assert items[0] is items[1]
    found = [item.packed(pack) for item in items if isinstance(item, Entries)]
    assert found == [b"12", b"12", b"1"]
    assert packed == 2


def test_only_wanted_keys_are_taken_and_others_are_passed() -> None:
    ring = a_ring()
    reader = Reader(ring, frozenset({"mine"}), conflates=False)
    put(ring, 1, key="other")
    assert reader.take() is None
    assert reader.offset == "1-0"
    reader.keys = frozenset({"other"})
    put(ring, 2, key="other")
    assert all_of(reader) == [[2]]


def test_a_reader_that_falls_out_is_cut_unless_it_conflates() -> None:
    ring = a_ring(capacity=3)
    reader = Reader(ring, None, conflates=False)
    put(ring, 1, 2, 3)
    assert reader.is_behind
    put(ring, 4)
    with pytest.raises(SlowReaderCut):
        reader.take()


def test_what_a_conflating_reader_missed_of_its_keys_is_counted_exactly() -> None:
    ring = a_ring(capacity=4)
    reader = Reader(ring, frozenset({"a", "b"}), conflates=True)
    put(ring, 1, key="a")
    assert all_of(reader) == [[1]]
    for number in range(2, 40):
        put(ring, number, key="abcd"[number % 4])
    # Ten of each of its keys have come, the newest of both are delivered.
    missed = sum(1 for number in range(2, 40) if "abcd"[number % 4] in "ab")
    assert reader.take() == Lost(CONFLATED, missed - 2, "39-0")
    assert all_of(reader) == [[36, 37]]
    put(ring, 40, key="a")
    assert all_of(reader) == [[40]]


def test_a_change_of_keys_does_not_count_what_was_never_wanted_as_missed() -> None:
    ring = a_ring(capacity=2)
    put(ring, 1, 2, key="b")
    reader = Reader(ring, frozenset({"a"}), conflates=True)
    put(ring, 3, key="b")
    reader.keys = frozenset({"a", "b"})
    put(ring, 4, 5, 6, key="b")
    assert reader.take() == Lost(CONFLATED, 3, "6-0")


def test_the_newest_of_many_keys_come_in_items_of_bearable_size() -> None:
    ring = a_ring(capacity=10)
    reader = Reader(ring, None, conflates=True)
    for number in range(1, 30):
        put(ring, number, key=str(number % 8), size=MOST_BYTES // 2)
    assert isinstance(reader.take(), Lost)
    items = all_of(reader)
    assert [len(item) for item in items] == [2, 2, 2, 2]
    assert sorted(number for item in items for number in item) == list(range(22, 30))


def test_a_reader_without_use_for_the_newest_goes_on_with_what_comes() -> None:
    ring = a_ring(capacity=2)
    reader = Reader(ring, None, conflates=True, newest_after_loss=False)
    put(ring, 1, 2, 3)
    assert reader.take() == Lost(CONFLATED, 3, "3-0")
    assert reader.take() is None
    put(ring, 4)
    assert all_of(reader) == [[4]]


def test_the_ring_holds_no_more_bytes_than_it_may_and_at_least_one_event() -> None:
    ring = a_ring(capacity_bytes=100)
    put(ring, 1, 2, 3, size=40)
    assert ring.held() == 2
    put(ring, 4, size=500)
    assert ring.held() == 1
    put(ring, 5, size=10)
    assert ring.held() == 1
    put(ring, *range(6, 20), size=10)
    assert ring.held() == 10


def test_a_loss_of_the_journal_is_told_once() -> None:
    ring = a_ring()
    reader = Reader(ring, None, conflates=False)
    put(ring, 1)
    ring.lose("9-0")
    assert reader.take() == Lost(streaming_pb2.GAP_CAUSE_RETENTION, 0, "9-0")
    assert reader.take() is None
    put(ring, 10)
    assert all_of(reader) == [[10]]


def test_a_reader_that_was_caught_up_beyond_the_ring_gets_nothing_twice() -> None:
    ring = a_ring()
    put(ring, 1)
    reader = Reader(ring, None, conflates=False)
    reader.place_after("3-0")
    put(ring, 2, 3)
    assert reader.take() is None
    assert reader.offset == "3-0"
    put(ring, 4)
    assert all_of(reader) == [[4]]
