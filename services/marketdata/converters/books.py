"""Order books between protobuf and the domain."""

from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.message import Message

from levimesh.marketdata.v1 import book_pb2, book_service_pb2
from services.marketdata.domain.book import BookChange, BookDelta, BookSnapshot, Level
from services.marketdata.domain.book_cost import Amount, BookSide, Cost
from services.runtime import decimals, timestamps
from services.runtime.journal import Entry

_SIDES = {book_pb2.BOOK_SIDE_BID: BookSide.BID, book_pb2.BOOK_SIDE_ASK: BookSide.ASK}


def side_from_pb(value: book_pb2.BookSide.ValueType) -> BookSide:
    """The side; the contract's rules have refused what is none."""
    return _SIDES[value]


def amount_from_pb(request: book_service_pb2.GetBookVwapRequest) -> Amount:
    """The amount that is asked about; the contract's rules have refused requests without one."""
    if request.HasField("notional"):
        return Amount(decimals.from_pb(request.notional), is_notional=True)
    return Amount(decimals.from_pb(request.quantity), is_notional=False)


def book_to_pb(book: BookSnapshot) -> book_pb2.OrderBook:
    message = book_pb2.OrderBook(
        symbol=book.symbol,
        bids=map(_level_to_pb, book.bids),
        asks=map(_level_to_pb, book.asks),
        update_id=book.update_id,
        event_time=timestamps.to_pb(book.event_time),
        receive_time=timestamps.to_pb(book.receive_time),
        consistent=book.consistent,
        imbalance=book.imbalance,
    )
    if (mid_price := book.mid_price) is not None:
        message.mid_price.CopyFrom(decimals.to_pb(mid_price))
    if (spread := book.spread) is not None:
        message.spread.CopyFrom(decimals.to_pb(spread))
    return message


def event_to_pb(event: BookChange) -> book_pb2.BookEvent:
    if isinstance(event, BookSnapshot):
        return book_pb2.BookEvent(snapshot=book_to_pb(event), sequence=event.sequence)
    return book_pb2.BookEvent(delta=_delta_to_pb(event), sequence=event.sequence)


def events_to_pb(events: Iterable[BookChange]) -> book_pb2.BookBatch:
    return book_pb2.BookBatch(events=map(event_to_pb, events))


def event_from_pb(message: book_pb2.BookEvent) -> BookChange:
    """An event as it was published."""
    if message.HasField("snapshot"):
        return _book_from_pb(message.snapshot, message.sequence)
    return _delta_from_pb(message.delta, message.sequence)


def cost_to_pb(cost: Cost) -> book_service_pb2.GetBookVwapResponse:
    return book_service_pb2.GetBookVwapResponse(
        vwap=decimals.to_pb(cost.vwap),
        quantity=decimals.to_pb(cost.quantity),
        notional=decimals.to_pb(cost.notional),
        worst_price=decimals.to_pb(cost.worst_price),
        slippage_bps=cost.slippage_bps,
        update_id=cost.update_id,
    )


def books_event(entries: Sequence[Entry]) -> Mapping[str, Message]:
    """Entries of the topic of books as the event of a stream."""
    batch = book_pb2.BookBatch()
    for entry in entries:
        batch.MergeFromString(entry.event)
    return {"books": batch}


def _level_to_pb(level: Level) -> book_pb2.BookLevel:
    return book_pb2.BookLevel(price=decimals.to_pb(level.price), quantity=decimals.to_pb(level.quantity))


def _levels_from_pb(levels: Iterable[book_pb2.BookLevel]) -> tuple[Level, ...]:
    return tuple(Level(decimals.from_pb(level.price), decimals.from_pb(level.quantity)) for level in levels)


def _delta_to_pb(delta: BookDelta) -> book_pb2.BookDelta:
    return book_pb2.BookDelta(
        symbol=delta.symbol,
        first_update_id=delta.first_update_id,
        last_update_id=delta.last_update_id,
        bids=map(_level_to_pb, delta.bids),
        asks=map(_level_to_pb, delta.asks),
        event_time=timestamps.to_pb(delta.event_time),
        receive_time=timestamps.to_pb(delta.receive_time),
    )


def _book_from_pb(book: book_pb2.OrderBook, sequence: int) -> BookSnapshot:
    return BookSnapshot(
        book.symbol,
        book.update_id,
        _levels_from_pb(book.bids),
        _levels_from_pb(book.asks),
        timestamps.from_pb(book.event_time),
        timestamps.from_pb(book.receive_time),
        book.consistent,
        sequence,
    )


def _delta_from_pb(delta: book_pb2.BookDelta, sequence: int) -> BookDelta:
    return BookDelta(
        delta.symbol,
        delta.first_update_id,
        delta.last_update_id,
        _levels_from_pb(delta.bids),
        _levels_from_pb(delta.asks),
        timestamps.from_pb(delta.event_time),
        timestamps.from_pb(delta.receive_time),
        sequence,
    )
