"""Subscriptions in the form that the contracts' streams have."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar, cast

from google.protobuf.message import Message

from levimesh.common.v1 import streaming_pb2
from services.runtime import timestamps
from services.runtime.clock import utc_now
from services.runtime.journal import Entry
from services.runtime.ring import Beat, Entries, Item, Lost, Pack

Response = TypeVar("Response", bound=Message)


async def stream_responses(
    subscription: AsyncIterator[Item],
    response_type: Callable[..., Response],
    event: Callable[[Sequence[Entry]], Mapping[str, Message]],
) -> AsyncIterator[Response]:
    """Each item of ``subscription`` as a ``response_type``.

    ``event`` turns entries into the field of the response's ``oneof event`` that holds them, for example
    ``{"signals": SignalBatch(...)}``.
    """
    async for item in subscription:
        match item:
            case Entries(entries, token):
                yield response_type(resume_token=token, **event(entries))
            case _:
                yield _without_events(item, response_type)


async def stream_packed(
    subscription: AsyncIterator[Item], response_type: Callable[..., Response], pack: Pack
) -> AsyncIterator[Response]:
    """As ``stream_responses``, for topics with many subscribers: events are serialised once for all who get the same.

    ``pack`` turns entries into the bytes of a response that holds them and nothing else.
    """
    async for item in subscription:
        match item:
            case Entries(_, token):
                # Messages that stand one behind the other are one message with the fields of both.
                rest = response_type(resume_token=token).SerializeToString()
                yield as_message(item.packed(pack) + rest, response_type)
            case _:
                yield _without_events(item, response_type)


def as_message(serialised: bytes, response_type: Callable[..., Response]) -> Response:  # noqa: ARG001 - tells the type
    """``serialised`` as an answer of a stream: the server sends bytes as they are, so handlers may yield them."""
    return cast(Response, serialised)


def to_bytes(response: Message | bytes) -> bytes:
    """What goes over the wire for an answer of a stream."""
    return response if isinstance(response, bytes) else response.SerializeToString()


def length_delimited(field_number: int, content: bytes) -> bytes:
    """A field of the wire type LEN, as it stands in a serialised message."""
    return _varint(field_number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _without_events(item: Beat | Lost | Entries, response_type: Callable[..., Response]) -> Response:
    match item:
        case Lost(cause, dropped, token):
            return response_type(resume_token=token, gap=streaming_pb2.Gap(cause=cause, dropped=dropped))
        case _:
            return response_type(resume_token=item.resume_token, heartbeat=heartbeat())


def heartbeat() -> streaming_pb2.Heartbeat:
    """A heartbeat of now."""
    return streaming_pb2.Heartbeat(time=timestamps.to_pb(utc_now()))
