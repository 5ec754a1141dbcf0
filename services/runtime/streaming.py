"""Subscriptions in the form that the contracts' streams have."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar

from google.protobuf.message import Message

from levimesh.common.v1 import streaming_pb2
from services.runtime import timestamps
from services.runtime.broadcast import Beat, Entries, Item, Lost
from services.runtime.clock import utc_now
from services.runtime.journal import Entry

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
            case Beat(token):
                heartbeat = streaming_pb2.Heartbeat(time=timestamps.to_pb(utc_now()))
                yield response_type(resume_token=token, heartbeat=heartbeat)
            case Lost(cause, dropped, token):
                yield response_type(resume_token=token, gap=streaming_pb2.Gap(cause=cause, dropped=dropped))
