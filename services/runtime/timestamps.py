"""Points in time between Python and the wire."""

from datetime import UTC, datetime

from google.protobuf import timestamp_pb2


def to_pb(moment: datetime) -> timestamp_pb2.Timestamp:
    """``moment``, which must be aware, to the microsecond."""
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone is ambiguous; give it one, such as UTC")
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(moment)
    return message


def from_pb(message: timestamp_pb2.Timestamp) -> datetime:
    """The moment in UTC, to the microsecond."""
    return message.ToDatetime(UTC)
