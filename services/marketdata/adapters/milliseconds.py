"""Points in time as exchanges and files count them."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_milliseconds(milliseconds: int) -> datetime:
    """The moment so many milliseconds after 1970."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def to_milliseconds(moment: datetime) -> int:
    """How many whole milliseconds after 1970 ``moment`` is."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)
