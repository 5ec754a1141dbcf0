"""Points in time between Python and the wire."""

from datetime import UTC, datetime

from google.protobuf import timestamp_pb2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_OF_A_DAY = 86_400


def to_pb(moment: datetime) -> timestamp_pb2.Timestamp:
    """``moment``, which must be aware, to the microsecond."""
    message = timestamp_pb2.Timestamp()
    put(moment, message)
    return message


def put(moment: datetime, message: timestamp_pb2.Timestamp) -> None:
    """``moment``, which must be aware, into ``message``, to the microsecond."""
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone is ambiguous; give it one, such as UTC")
    passed = moment - _EPOCH
    message.seconds = passed.days * _SECONDS_OF_A_DAY + passed.seconds
    message.nanos = passed.microseconds * 1000


def from_pb(message: timestamp_pb2.Timestamp) -> datetime:
    """The moment in UTC, to the microsecond."""
    return message.ToDatetime(UTC)
