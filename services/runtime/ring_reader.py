"""The places of readers in a ring."""

from levimesh.common.v1 import streaming_pb2
from services.runtime.errors import SlowReaderCut
from services.runtime.journal import Entry, is_after
from services.runtime.ring import Entries, Keys, Lost, Ring, cut, wanted


class Reader:
    """The place of one reader in a ring."""

    def __init__(self, ring: Ring, keys: Keys | None, *, conflates: bool, newest_after_loss: bool = True) -> None:
        """At the newest event; what follows and has one of ``keys`` (None: any) will be taken.

        Who falls out of the ring gets the newest event of each key if it ``conflates``, unless it wants none
        (``newest_after_loss``), and is cut otherwise.
        """
        self._ring = ring
        self._keys = ring.same(keys)
        self._conflates = conflates
        self._newest_after_loss = newest_after_loss
        self._newest: list[Entry] = []
        """What is left of the newest events of each key, the next one last."""
        self.place_at_end()

    @property
    def keys(self) -> Keys | None:
        """What is wanted. Other keys count from the reader's place on."""
        return self._keys

    @keys.setter
    def keys(self, keys: Keys | None) -> None:
        self._keys = self._ring.same(keys)
        self._due = self._ring.total(keys) - len(wanted(self._ring.after(self._seen), keys))

    @property
    def is_behind(self) -> bool:
        """Whether there is something that this reader has not looked at."""
        return self._seen < self._ring.count or self._losses != self._ring.losses or bool(self._newest)

    def place_at_end(self) -> None:
        """Only what comes from now on will be taken."""
        self._place(self._ring.count, self._ring.offset)

    def place_after(self, offset: str) -> None:
        """What follows ``offset`` will be taken, if the ring holds it; else it is as for a reader that is too slow."""
        self._place(self._ring.number_of(offset) or 0, offset)

    def _place(self, number: int, offset: str) -> None:
        self.offset = offset
        """Of the newest event that this reader has seen."""
        self._seen = number
        self._losses = self._ring.losses
        self._due = self._ring.total(self._keys) - len(wanted(self._ring.after(number), self._keys))
        """How many wanted events there were up to this place."""
        self._ahead = is_after(offset, self._ring.offset)
        """Whether the journal, from which the reader was caught up, was ahead of the ring."""

    def take(self) -> Entries | Lost | None:
        """What waits for this reader, as much as an item may hold; None when nothing does.

        Raises SlowReaderCut when it has fallen out of the ring and does not conflate.
        """
        ring = self._ring
        if self._losses != ring.losses:
            self._newest = []
            self.place_at_end()
            return Lost(streaming_pb2.GAP_CAUSE_RETENTION, 0, self.offset)
        if self._newest:
            return self._next_newest()
        if ring.count - self._seen > ring.held():
            return self._fallen_out()
        while self._seen < ring.count:
            item, number = ring.slice(self._seen, self._keys)
            self._seen = number
            if self._ahead:
                item = self._without_known(item)
            self.offset = item.resume_token
            self._due += len(item.entries)
            if item.entries:
                return item
        return None

    def _without_known(self, item: Entries) -> Entries:
        known = self.offset
        self._ahead = not is_after(item.resume_token, known)
        new = [entry for entry in item.entries if is_after(entry.offset, known)]
        self._due += len(item.entries) - len(new)
        return Entries(new, known if self._ahead else item.resume_token)

    def _fallen_out(self) -> Lost:
        if not self._conflates:
            raise SlowReaderCut("this reader was too slow; resume with the last token, or choose to conflate")
        missed = self._ring.total(self._keys) - self._due
        newest = self._ring.newest_of_each(self._keys) if self._newest_after_loss else []
        self.place_at_end()
        self._newest = newest
        return Lost(streaming_pb2.GAP_CAUSE_CONFLATED, missed - len(newest), self.offset)

    def _next_newest(self) -> Entries:
        part = next(cut(self._newest))
        self._newest = self._newest[len(part) :]
        return Entries(part, part[-1].offset if self._newest else self.offset)
