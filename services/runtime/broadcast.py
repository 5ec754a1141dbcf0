"""One topic of the journal for any number of subscribers of this process.

A single reader tails the topic into a shared ring; every subscriber has a cursor of its own. So a slow subscriber costs
the others nothing: it falls out of the ring, and then gets what it chose.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from levimesh.common.v1 import streaming_pb2
from services.runtime.errors import DependencyUnavailable, ResumeTokenInvalid, SlowReaderCut
from services.runtime.journal import Entry, Journal, is_after, is_offset

_log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0
BATCH = 500
"""The most events in one item, so that a message stays far below the size limit."""


@dataclass(frozen=True)
class Entries:
    """Events, whatever was waiting, in order."""

    entries: Sequence[Entry]
    resume_token: str


@dataclass(frozen=True)
class Beat:
    """Nothing happened for a while."""

    resume_token: str


@dataclass(frozen=True)
class Lost:
    """Events between the last item and the next one will not be delivered."""

    cause: "streaming_pb2.GapCause.ValueType"
    dropped: int
    resume_token: str


Item = Entries | Beat | Lost


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a subscriber is."""

    offset: str
    """Of the newest event that it has seen."""
    seen: int
    """The number of that event."""
    losses: int
    """How often the journal had lost events when the subscriber was last told."""


class Broadcast:
    """Fans the events of one topic out to subscribers. ``run`` must run while there are any."""

    def __init__(
        self, journal: Journal, topic: str, *, capacity: int = 10_000, heartbeat: float = HEARTBEAT_SECONDS
    ) -> None:
        self._journal = journal
        self._topic = topic
        self._heartbeat = heartbeat
        self._ring: deque[Entry] = deque(maxlen=capacity)
        self._count = 0
        """How many events have gone into the ring; the newest has this number."""
        self._losses = 0
        """How often the journal lost events."""
        self._last_offset: str | None = None
        self._reading = False
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Follow the topic for ever; raises when the journal is away, and goes on where it was when run again."""
        if self._last_offset is None:
            self._last_offset = await self._journal.last_offset(self._topic)
            self._wake()
        elif not await self._journal.holds(self._topic, self._last_offset):
            # The journal lost events that nobody here has seen.
            self._losses += 1
            self._ring.clear()
            self._last_offset = await self._journal.last_offset(self._topic)
            self._wake()
        self._reading = True
        try:
            async for entries in self._journal.tail(self._topic, self._last_offset):
                self._ring.extend(entries)
                self._count += len(entries)
                self._last_offset = entries[-1].offset
                self._wake()
        finally:
            self._reading = False

    async def subscribe(
        self, *, keys: frozenset[str] | None, resume_token: str, slow_reader: "streaming_pb2.SlowReader.ValueType"
    ) -> AsyncIterator[Item]:
        """The events after ``resume_token`` ("": from now on) whose key is in ``keys`` (None: all), for ever.

        Raises ResumeTokenInvalid at once, SlowReaderCut when the reader falls behind the ring and did not choose
        SLOW_READER_CONFLATE, and DependencyUnavailable instead of a heartbeat when the journal cannot be read.
        """
        if resume_token and not is_offset(resume_token):
            raise ResumeTokenInvalid("resume_token is not one that this stream gave out; leave it empty to begin now")
        await self._started()
        offset, seen, losses = self._newest(), self._count, self._losses
        if not resume_token:
            yield Beat(offset)
        elif not await self._journal.holds(self._topic, resume_token):
            yield Lost(streaming_pb2.GAP_CAUSE_RETENTION, 0, offset)
        else:
            async for entries in self._history(resume_token):
                resume_token = entries[-1].offset
                if wanted := _wanted(entries, keys):
                    yield Entries(wanted, resume_token)
            offset, seen = resume_token, self._number_of(resume_token) or 0
            # Tells the reader that it has caught up, without waiting for news.
            yield Beat(offset)
        async for item in self._follow(_Cursor(offset, seen, losses), keys, slow_reader):
            yield item

    async def _started(self) -> None:
        if self._last_offset is None:
            await self._news_until(asyncio.get_running_loop().time() + 2)
        if self._last_offset is None:
            raise DependencyUnavailable("the journal is away; try again in a second", part="redis")

    async def _history(self, offset: str) -> AsyncIterator[list[Entry]]:
        """What lies between ``offset`` and the ring, from the journal."""
        while self._number_of(offset) is None:
            if not (entries := await self._journal.read(self._topic, offset, BATCH)):
                return
            offset = entries[-1].offset
            yield entries

    def _number_of(self, offset: str) -> int | None:
        """The number of the newest event at or before ``offset``, if the ring holds what follows."""
        if not is_after(self._newest(), offset):
            return self._count
        if not self._ring or is_after(self._ring[0].offset, offset):
            return None
        later = 0
        for entry in reversed(self._ring):
            if not is_after(entry.offset, offset):
                break
            later += 1
        return self._count - later

    async def _follow(
        self, cursor: _Cursor, keys: frozenset[str] | None, slow_reader: "streaming_pb2.SlowReader.ValueType"
    ) -> AsyncIterator[Item]:
        clock = asyncio.get_running_loop().time
        beat_at = clock() + self._heartbeat
        while True:
            entries: Sequence[Entry] = ()
            behind = self._count - cursor.seen
            if cursor.losses != self._losses:
                cursor = _Cursor(self._newest(), self._count, self._losses)
                yield Lost(streaming_pb2.GAP_CAUSE_RETENTION, 0, cursor.offset)
            elif behind > len(self._ring):
                if slow_reader != streaming_pb2.SLOW_READER_CONFLATE:
                    raise SlowReaderCut("this reader was too slow; resume with the last token, or choose to conflate")
                entries = _wanted(_newest_of_each_key(self._ring), keys)
                cursor = _Cursor(self._newest(), self._count, self._losses)
                # How many of the lost ones had a wanted key is not known, and others' activity is not told.
                dropped = behind - len(entries) if keys is None else 0
                yield Lost(streaming_pb2.GAP_CAUSE_CONFLATED, dropped, cursor.offset)
            elif behind:
                entries = self._next(behind, cursor.offset)
                offset = entries[-1].offset if entries else cursor.offset
                cursor = _Cursor(offset, cursor.seen + min(behind, BATCH), cursor.losses)
                entries = _wanted(entries, keys)
            elif clock() < beat_at:
                await self._news_until(beat_at)
                continue
            if entries:
                yield Entries(entries, cursor.offset)
            elif clock() >= beat_at:
                self._vouch()
                yield Beat(cursor.offset)
            else:
                continue
            beat_at = clock() + self._heartbeat

    def _vouch(self) -> None:
        """A heartbeat says that nothing has happened; without the journal nobody here can know that."""
        if not self._reading:
            raise DependencyUnavailable("the journal is away; resume with the last token", part="redis")

    def _next(self, behind: int, offset: str) -> list[Entry]:
        """The first of the newest ``behind`` events, without those that were read from the journal up to ``offset``."""
        start = len(self._ring) - behind
        entries = list(islice(self._ring, start, start + BATCH))
        # The journal, read for the history, may have been ahead of the ring.
        return entries if is_after(entries[0].offset, offset) else [e for e in entries if is_after(e.offset, offset)]

    def _newest(self) -> str:
        assert self._last_offset is not None  # noqa: S101 - subscribers wait for the start
        return self._last_offset

    async def _news_until(self, moment: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(moment):
                await self._news.wait()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _wanted(entries: Sequence[Entry], keys: frozenset[str] | None) -> Sequence[Entry]:
    return entries if keys is None else [entry for entry in entries if entry.key in keys]


def _newest_of_each_key(entries: Sequence[Entry]) -> list[Entry]:
    newest = {entry.key: entry for entry in entries}
    return sorted(newest.values(), key=lambda entry: tuple(map(int, entry.offset.split("-"))))
