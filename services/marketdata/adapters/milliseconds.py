"""Points in time as exchanges and files count them."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Exchanges know no time before it."""


def from_milliseconds(milliseconds: int) -> datetime:
    """The moment so many milliseconds after 1970."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def to_milliseconds(moment: datetime) -> int:
    """How many whole milliseconds after 1970 ``moment`` is."""
    return (moment - EPOCH) // timedelta(milliseconds=1)
