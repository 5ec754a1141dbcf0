"""The newest events of a topic in memory.

What several readers want alike is cut out and put into bytes once for all of them.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from levimesh.common.v1 import streaming_pb2
from services.runtime.journal import Entry, is_after

MOST_ENTRIES = 500
"""The most events in one item."""
MOST_BYTES = 256 * 1024
"""The most bytes of events in one item, unless a single event has more: far below what a message may have."""
_REMEMBERED_SLICES = 32

Keys = frozenset[str]
Pack = Callable[[Sequence[Entry]], bytes]


@dataclass(frozen=True)
class Entries:
    """Events, whatever was waiting, in order."""

    entries: Sequence[Entry]
    resume_token: str
    _packed: dict[Pack, bytes] = field(default_factory=dict, init=False, compare=False, repr=False)

    def packed(self, pack: Pack) -> bytes:
        """What ``pack`` makes of the events, made once for all readers that got this very item."""
        if (found := self._packed.get(pack)) is None:
            found = self._packed[pack] = pack(self.entries)
        return found


@dataclass(frozen=True)
class Beat:
    """Nothing happened for a while."""

    resume_token: str


@dataclass(frozen=True)
class Lost:
    """Events between the last item and the next one will not be delivered."""

    cause: "streaming_pb2.GapCause.ValueType"
    dropped: int
    """How many, as far as that is known."""
    resume_token: str


Item = Entries | Beat | Lost


def cut(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """``entries`` in parts that are small enough for an item each."""
    part: list[Entry] = []
    size = 0
    for entry in entries:
        if part and (size + len(entry.event) > MOST_BYTES or len(part) >= MOST_ENTRIES):
            yield part
            part, size = [], 0
        part.append(entry)
        size += len(entry.event)
    if part:
        yield part


def wanted(entries: Sequence[Entry], keys: Keys | None) -> Sequence[Entry]:
    """Those of ``entries`` whose key is in ``keys``; all without ``keys``."""
    return entries if keys is None else [entry for entry in entries if entry.key in keys]


class Ring:
    """The newest events of a topic, numbered 1, 2, 3 … as they came."""

    def __init__(self, capacity: int, capacity_bytes: int) -> None:
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._entries: list[Entry] = []
        self._bytes = 0
        self._totals: Counter[str] = Counter()
        self._slices: OrderedDict[tuple[int, int, Keys | None], tuple[Entries, int]] = OrderedDict()
        self._key_sets: WeakValueDictionary[Keys, Keys] = WeakValueDictionary()
        self.count = 0
        """The number of the newest event."""
        self.losses = 0
        """How often events were lost that were never in here."""
        self.offset = ""
        """Of the newest event."""

    def extend(self, entries: Sequence[Entry]) -> None:
        """Take in the next events; the oldest ones make room."""
        self._entries += entries
        self._bytes += sum(len(entry.event) for entry in entries)
        self._totals.update(entry.key for entry in entries)
        self.count += len(entries)
        self.offset = entries[-1].offset
        excess = max(0, len(self._entries) - self._capacity)
        too_many = self._bytes - self._capacity_bytes - sum(len(entry.event) for entry in self._entries[:excess])
        while too_many > 0 and excess < len(self._entries) - 1:
            too_many -= len(self._entries[excess].event)
            excess += 1
        if excess:
            self._bytes -= sum(len(entry.event) for entry in self._entries[:excess])
            del self._entries[:excess]

    def lose(self, offset: str) -> None:
        """Events were lost that nobody here has seen; it goes on after ``offset``."""
        self.losses += 1
        self.offset = offset
        self._entries.clear()
        self._bytes = 0

    def held(self) -> int:
        """How many events there are."""
        return len(self._entries)

    def number_of(self, offset: str) -> int | None:
        """The number of the newest event at or before ``offset``, if the ring holds what follows."""
        if not is_after(self.offset, offset):
            return self.count
        if not self._entries or is_after(self._entries[0].offset, offset):
            return None
        later = 0
        for entry in reversed(self._entries):
            if not is_after(entry.offset, offset):
                break
            later += 1
        return self.count - later

    def total(self, keys: Keys | None) -> int:
        """How many events with one of ``keys`` there have ever been."""
        return self.count if keys is None else sum(self._totals[key] for key in keys)

    def after(self, number: int) -> Sequence[Entry]:
        """The events that follow the one with ``number``."""
        return self._entries[max(0, len(self._entries) - (self.count - number)) :]

    def newest_of_each(self, keys: Keys | None) -> list[Entry]:
        """The newest event of each of ``keys``, in order."""
        newest: dict[str, Entry] = {}
        for entry in reversed(self._entries):
            if keys is None or entry.key in keys:
                newest.setdefault(entry.key, entry)
                if keys is not None and len(newest) == len(keys):
                    break
        return list(reversed(newest.values()))

    def same(self, keys: Keys | None) -> Keys | None:
        """``keys``, as the one object that all readers of the same keys share."""
        return None if keys is None else self._key_sets.setdefault(keys, keys)

    def slice(self, number: int, keys: Keys | None) -> tuple[Entries, int]:
        """As much of what follows ``number`` and is wanted as an item may hold, and the number of its last event."""
        place = (number, self.count, keys)
        if (found := self._slices.get(place)) is None:
            found = self._slices[place] = self._cut_out(number, keys)
            if len(self._slices) > _REMEMBERED_SLICES:
                self._slices.popitem(last=False)
        return found

    def _cut_out(self, number: int, keys: Keys | None) -> tuple[Entries, int]:
        index = len(self._entries) - (self.count - number)
        part: list[Entry] = []
        size = 0
        while index < len(self._entries):
            entry = self._entries[index]
            if keys is None or entry.key in keys:
                if part and (size + len(entry.event) > MOST_BYTES or len(part) >= MOST_ENTRIES):
                    break
                part.append(entry)
                size += len(entry.event)
            index += 1
        return Entries(part, self._entries[index - 1].offset), self.count - (len(self._entries) - index)
