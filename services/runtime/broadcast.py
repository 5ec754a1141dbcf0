"""One topic of the journal for any number of subscribers of this process.

A single reader tails the topic into a shared ring; every subscriber has a cursor of its own. So a slow subscriber costs
the others nothing: it falls out of the ring, and then gets what it chose.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager

from levimesh.common.v1 import streaming_pb2
from services.runtime.bell import Bell
from services.runtime.errors import DependencyUnavailable, ResumeTokenInvalid
from services.runtime.journal import Entry, Journal, is_offset
from services.runtime.ring import Beat, Entries, Item, Keys, Lost, Ring, cut, wanted
from services.runtime.ring_reader import Reader
from services.runtime.stream_guard import cut_when_stalled

HEARTBEAT_SECONDS = 10.0
_CAPACITY_BYTES = 64 * 1024 * 1024
_HISTORY_AT_ONCE = 100


class Broadcast:
    """Fans the events of one topic out to subscribers. ``run`` must run while there are any."""

    def __init__(
        self, journal: Journal, topic: str, *, capacity: int = 10_000, heartbeat: float = HEARTBEAT_SECONDS
    ) -> None:
        self._journal = journal
        self._topic = topic
        self._heartbeat = heartbeat
        self._ring = Ring(capacity, _CAPACITY_BYTES)
        self._started = asyncio.Event()
        self._reading = False
        self._bells: set[Bell] = set()
        self._listeners: list[Callable[[Sequence[Entry]], None]] = []

    def listen(self, listener: Callable[[Sequence[Entry]], None]) -> None:
        """Let ``listener`` see every event before any subscriber does. It must be quick, and must not fail."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Follow the topic for ever; raises when the journal is away, and goes on where it was when run again."""
        ring = self._ring
        if not self._started.is_set():
            ring.offset = await self._journal.last_offset(self._topic)
            self._started.set()
        elif not await self._journal.holds(self._topic, ring.offset):
            ring.lose(await self._journal.last_offset(self._topic))
            self._wake()
        self._reading = True
        try:
            async for entries in self._journal.tail(self._topic, ring.offset):
                for part in cut(entries):
                    ring.extend(part)
                    for listener in self._listeners:
                        listener(part)
                    self._wake()
                    # After an absence much comes at once; others have their turn in between.
                    await asyncio.sleep(0)
        finally:
            self._reading = False

    async def reader(
        self,
        keys: Keys | None,
        slow_reader: "streaming_pb2.SlowReader.ValueType",
        *,
        newest_after_loss: bool = True,
    ) -> Reader:
        """A reader of what comes from now on; see Reader.

        Raises DependencyUnavailable before the journal was reached.
        """
        try:
            async with asyncio.timeout(2):
                await self._started.wait()
        except TimeoutError:
            raise DependencyUnavailable("the journal is away; try again in a second", part="redis") from None
        conflates = slow_reader == streaming_pb2.SLOW_READER_CONFLATE
        return Reader(self._ring, keys, conflates=conflates, newest_after_loss=newest_after_loss)

    async def catch_up(self, reader: Reader, resume_token: str) -> AsyncIterator[Entries | Lost]:
        """What ``reader`` has missed since ``resume_token``, as far as the ring does not hold it.

        After that the reader goes on in the ring.
        """
        if not await self._journal.holds(self._topic, resume_token):
            reader.place_at_end()
            yield Lost(streaming_pb2.GAP_CAUSE_RETENTION, 0, reader.offset)
            return
        while self._ring.number_of(resume_token) is None:
            if not (entries := await self._journal.read(self._topic, resume_token, _HISTORY_AT_ONCE)):
                break
            for part in cut(entries):
                resume_token = part[-1].offset
                if chosen := wanted(part, reader.keys):
                    yield Entries(chosen, resume_token)
        reader.place_after(resume_token)

    @contextmanager
    def ringing(self, bell: Bell) -> Iterator[None]:
        """``bell`` rings meanwhile whenever there is something new to be taken."""
        self._bells.add(bell)
        try:
            yield
        finally:
            self._bells.discard(bell)

    def vouch(self) -> None:
        """A heartbeat says that nothing has happened; without the journal nobody here can know that.

        Raises DependencyUnavailable.
        """
        if not self._reading:
            raise DependencyUnavailable("the journal is away; resume with the last token", part="redis")

    async def subscribe(
        self, *, keys: Keys | None, resume_token: str, slow_reader: "streaming_pb2.SlowReader.ValueType"
    ) -> AsyncIterator[Item]:
        """The events after ``resume_token`` ("": from now on) whose key is in ``keys`` (None: all), for ever.

        Raises ResumeTokenInvalid at once, SlowReaderCut when the reader falls behind the ring and did not choose
        SLOW_READER_CONFLATE, and DependencyUnavailable instead of a heartbeat when the journal cannot be read.
        """
        if resume_token and not is_offset(resume_token):
            raise ResumeTokenInvalid("resume_token is not one that this stream gave out; leave it empty to begin now")
        reader = await self.reader(keys, slow_reader)
        if slow_reader != streaming_pb2.SLOW_READER_CONFLATE:
            cut_when_stalled(lambda: reader.is_behind)
        gap = False
        if resume_token:
            async for missed in self.catch_up(reader, resume_token):
                gap = isinstance(missed, Lost)
                yield missed
        if not gap:
            # Gives the first token, or tells the reader that it has caught up, without waiting for news.
            yield Beat(reader.offset)
        bell = Bell()
        with self.ringing(bell):
            async for item in self._follow(reader, bell):
                yield item

    async def _follow(self, reader: Reader, bell: Bell) -> AsyncIterator[Item]:
        clock = asyncio.get_running_loop().time
        beat_at = clock() + self._heartbeat
        while True:
            if (item := reader.take()) is not None:
                yield item
            elif clock() < beat_at:
                await bell.wait(beat_at)
                continue
            else:
                self.vouch()
                yield Beat(reader.offset)
            beat_at = clock() + self._heartbeat

    def _wake(self) -> None:
        for bell in self._bells:
            bell.ring()
