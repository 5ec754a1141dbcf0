"""Order books on the journal."""

from collections.abc import Callable, Iterator, Sequence

from levimesh.marketdata.v1 import book_pb2
from services.marketdata.converters import books as convert
from services.marketdata.domain.book import BookChange
from services.marketdata.feeding.line_publisher import LineKind
from services.marketdata.ports.books import BookStore, books_line
from services.runtime.journal import Entry, LineEntry

BOOKS = "marketdata.books"
"""Topic of order books: an event is a BookBatch of the symbol that is its key."""
_AT_ONCE = 100


def book_lines(store: BookStore) -> LineKind[BookChange]:
    """How the lines of books are published."""
    return LineKind(BOOKS, books_line, store.after, _entries)


def listener(take_in: Callable[[Sequence[BookChange]], None]) -> Callable[[Sequence[Entry]], None]:
    """Gives what entries of the topic hold to ``take_in``."""

    def listen(entries: Sequence[Entry]) -> None:
        for entry in entries:
            batch = book_pb2.BookBatch.FromString(entry.event)
            take_in([convert.event_from_pb(event) for event in batch.events])

    return listen


def _entries(symbol: str, events: Sequence[BookChange]) -> list[LineEntry]:
    return [
        LineEntry(symbol, convert.events_to_pb(part).SerializeToString(), part[0].sequence, part[-1].sequence)
        for part in _parts(events)
    ]


def _parts(events: Sequence[BookChange]) -> Iterator[Sequence[BookChange]]:
    for start in range(0, len(events), _AT_ONCE):
        yield events[start : start + _AT_ONCE]
