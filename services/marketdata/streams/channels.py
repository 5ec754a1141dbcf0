"""Channels that are topics of the journal: trades, candles and order books."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from levimesh.common.v1 import streaming_pb2
from levimesh.marketdata.v1 import book_pb2
from services.marketdata.converters import streams as convert
from services.marketdata.domain.book import BookSnapshot
from services.marketdata.domain.instruments import Instrument
from services.marketdata.errors import BookNotAvailable
from services.runtime.bell import Bell
from services.runtime.broadcast import Broadcast
from services.runtime.journal import Entry
from services.runtime.ring import Entries, Keys, Lost, Pack
from services.runtime.ring_reader import Reader


@dataclass(frozen=True)
class Payload:
    """A response, as it goes over the wire, without its resume token."""

    content: bytes


@dataclass(frozen=True)
class Missed:
    """Messages of some instruments will not be delivered."""

    instruments: Sequence[Instrument]
    lost: Lost


Output = Payload | Missed


class Channel(ABC):
    """One kind of data for one stream: what its instruments have, whatever is waiting."""

    name: str
    """In resume tokens; "" for a channel that is not replayed."""

    def __init__(self, broadcast: Broadcast) -> None:
        """Fed by ``broadcast``."""
        self._broadcast = broadcast
        self.instruments: dict[Instrument, None] = {}
        """In the order in which they were asked for."""
        self.symbols: frozenset[str] = frozenset()
        """Of its instruments."""
        self._ringing = ExitStack()

    @property
    def offset(self) -> str | None:
        """Where it is in its topic; None for a channel that is not replayed."""
        return None

    @property
    def is_behind(self) -> bool:
        """Whether its reader may miss something by being slow."""
        return False

    @property
    def due(self) -> float | None:
        """When to ask again by the loop's clock, though nothing rings; None when that needs not be."""
        return None

    async def prepare(self, symbols: Collection[str]) -> None:  # noqa: B027 - most need nothing
        """Get ready what is needed before instruments of ``symbols`` are added. Raises DependencyUnavailable."""

    def add(self, instruments: Sequence[Instrument]) -> None:
        """Deliver these too, from now on."""
        self.instruments |= dict.fromkeys(instruments)
        self._count_symbols()

    def remove(self, instruments: Sequence[Instrument]) -> None:
        """Deliver these no more."""
        for instrument in instruments:
            self.instruments.pop(instrument, None)
        self._count_symbols()

    def _count_symbols(self) -> None:
        self.symbols = frozenset(instrument.symbol for instrument in self.instruments)

    def ring(self, bell: Bell) -> None:
        """Ring ``bell`` when there may be something to take, until the channel is closed."""
        self._ringing.enter_context(self._broadcast.ringing(bell))

    def vouch(self) -> None:
        """Raise DependencyUnavailable while it is not known whether there is something to take."""
        self._broadcast.vouch()

    def close(self) -> None:
        """No more is wanted."""
        self._ringing.close()

    @abstractmethod
    async def take(self) -> Output | None:
        """What is waiting, as much as a message may hold; None when nothing is. Raises SlowReaderCut."""


class LineChannel(Channel):
    """The events of a topic, as they were published."""

    newest_after_loss = True

    def __init__(self, name: str, broadcast: Broadcast, reader: Reader, pack: Pack) -> None:
        super().__init__(broadcast)
        self.name = name
        self._reader = reader
        self._pack = pack
        self._resumes_after: str | None = None
        """While what was missed is being delivered: where the reader is."""

    @classmethod
    async def open(
        cls,
        name: str,
        broadcast: Broadcast,
        slow_reader: "streaming_pb2.SlowReader.ValueType",
        bell: Bell,
        pack: Pack,
        keys: Keys | None = frozenset(),
    ) -> Self:
        """At the newest event, for ``keys`` (None: all) until instruments are added.

        Raises DependencyUnavailable before the journal was reached.
        """
        reader = await broadcast.reader(keys, slow_reader, newest_after_loss=cls.newest_after_loss)
        channel = cls(name, broadcast, reader, pack)
        channel.ring(bell)
        return channel

    @property
    def offset(self) -> str:
        return self._reader.offset if self._resumes_after is None else self._resumes_after

    @property
    def is_behind(self) -> bool:
        return self._reader.is_behind

    def add(self, instruments: Sequence[Instrument]) -> None:
        super().add(instruments)
        self._reader.keys = self.symbols

    def remove(self, instruments: Sequence[Instrument]) -> None:
        super().remove(instruments)
        self._reader.keys = self.symbols

    def resume_after(self, offset: str) -> None:
        """Continue after ``offset``: ``catch_up`` delivers what was missed."""
        self._resumes_after = offset

    async def catch_up(self) -> AsyncIterator[Output]:
        """What there was since the offset to continue after, as far as the journal holds it."""
        if self._resumes_after is None:
            return
        async for item in self._broadcast.catch_up(self._reader, self._resumes_after):
            self._resumes_after = item.resume_token
            if (output := await self._output(item)) is not None:
                yield output
        self._resumes_after = None

    async def take(self) -> Output | None:
        while (item := self._reader.take()) is not None:
            if (output := await self._output(item)) is not None:
                return output
        return None

    async def _output(self, item: Entries | Lost) -> Output | None:
        if isinstance(item, Lost):
            return Missed(list(self.instruments), item)
        return await self._payload(item)

    async def _payload(self, item: Entries) -> Payload | None:
        return Payload(item.packed(self._pack))


class BookChannel(LineChannel):
    """The events of order books. Where the reader knows no book, a snapshot comes first."""

    newest_after_loss = False
    snapshot: Callable[[str], BookSnapshot]
    """Tells the book of a symbol; see Books.snapshot."""

    def __init__(self, name: str, broadcast: Broadcast, reader: Reader, pack: Pack) -> None:
        super().__init__(name, broadcast, reader, pack)
        self._unknown: dict[str, None] = {}
        """Symbols whose book the reader does not know."""
        self._known_to: dict[str, int] = {}
        """Up to which sequence the reader knows a book from its snapshot, so that it must not get those again."""

    def add(self, instruments: Sequence[Instrument]) -> None:
        super().add(instruments)
        self._unknown |= {instrument.symbol: None for instrument in instruments}

    def remove(self, instruments: Sequence[Instrument]) -> None:
        super().remove(instruments)
        for instrument in instruments:
            self._unknown.pop(instrument.symbol, None)
            self._known_to.pop(instrument.symbol, None)

    def resume_after(self, offset: str) -> None:
        super().resume_after(offset)
        # The reader knows the books up to there.
        self._unknown.clear()

    async def take(self) -> Output | None:
        snapshots = book_pb2.BookBatch()
        while self._unknown and snapshots.ByteSize() < convert.MOST_BYTES:
            symbol = next(iter(self._unknown))
            del self._unknown[symbol]
            self._known_to[symbol] = self._tell(symbol, snapshots)
        if snapshots.events:
            return Payload(convert.books_payload(snapshots))
        return await super().take()

    def _tell(self, symbol: str, batch: book_pb2.BookBatch) -> int:
        """Add the snapshot of ``symbol``; the sequence up to which the reader knows the book then.

        A book that cannot be told now begins with the next snapshot in its line.
        """
        try:
            book = self.snapshot(symbol)
        except BookNotAvailable:
            return _UNTIL_SNAPSHOT
        batch.events.append(convert.book_event_to_pb(book))
        return book.sequence

    async def _output(self, item: Entries | Lost) -> Output | None:
        if isinstance(item, Lost):
            self._unknown = {instrument.symbol: None for instrument in self.instruments}
        return await super()._output(item)

    async def _payload(self, item: Entries) -> Payload | None:
        if not self._known_to:
            return await super()._payload(item)
        batch = book_pb2.BookBatch()
        for entry in item.entries:
            batch.events.extend(self._new(entry))
        return Payload(convert.books_payload(batch)) if batch.events else None

    def _new(self, entry: Entry) -> list[book_pb2.BookEvent]:
        """The events of ``entry`` that the reader does not know from a snapshot."""
        events = list(book_pb2.BookBatch.FromString(entry.event).events)
        known_to = self._known_to.get(entry.key)
        if known_to is None:
            return events
        for index, event in enumerate(events):
            if event.sequence > known_to if known_to != _UNTIL_SNAPSHOT else event.HasField("snapshot"):
                del self._known_to[entry.key]
                return events[index:]
        return []


_UNTIL_SNAPSHOT = -1
