"""Rows as PostgreSQL's binary COPY takes them, encoded by the column.

Nothing is rounded: numbers go by their decimal digits, and times by their microseconds. PostgreSQL drops the zeros with
which numbers are brought to the same width, and keeps how many places each had after the point.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""Comes before all rows."""
TRAILER = b"\xff\xff"
"""Comes behind all rows."""

_EPOCH = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp())
_MICROSECOND: Callable[[datetime], int] = attrgetter("microsecond")
_NEWLINE, _MINUS, _POINT, _ZERO = b"\n-.0"
_NEGATIVE = 0x4000
_GROUP = 4
"""How many decimal digits PostgreSQL keeps together."""


class Column(NamedTuple):
    """A field of all rows, its length before it: a row of bytes each, and which of them count; None for all."""

    cells: NDArray[np.uint8]
    counting: NDArray[np.bool_] | None = None


def rows(*columns: Column) -> bytes:
    """The rows that have these columns, of which there is at least one."""
    count = len(columns[0].cells)
    fields = np.broadcast_to(np.frombuffer(len(columns).to_bytes(2, "big"), np.uint8), (count, 2))
    cells = np.concatenate([fields, *(column.cells for column in columns)], axis=1)
    if all(column.counting is None for column in columns):
        return bytes(cells)
    counting = np.concatenate([np.ones((count, 2), np.bool_), *map(_counting, columns)], axis=1)
    return bytes(cells[counting])


def texts(values: Sequence[str]) -> Column:
    """A column of type text."""
    encoded = [value.encode() for value in values]
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    width = int(lengths.max())
    characters = np.frombuffer(b"".join(encoded), np.uint8)
    prefix = _bytes(lengths.astype(">i4"))
    if int(lengths.min()) == width:
        return Column(np.concatenate([prefix, characters.reshape(len(encoded), width)], axis=1))
    cells = np.zeros((len(encoded), 4 + width), np.uint8)
    counting = np.arange(-4, width) < lengths[:, np.newaxis]
    cells[:, :4] = prefix
    cells[:, 4:][counting[:, 4:]] = characters
    return Column(cells, counting)


def repeated_texts(values: Sequence[str]) -> Column:
    """A column of type text that has few different values."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    cells, counting = texts(list(numbers))
    chosen = np.fromiter(map(numbers.__getitem__, values), np.intp, len(values))
    return Column(cells[chosen], None if counting is None else counting[chosen])


def numerics(values: Sequence[Decimal]) -> Column:
    """A column of type numeric. Raises ValueError where one is not finite."""
    text = "\n".join(map(str, values))
    if "E" in text:
        text = "\n".join(format(value, "f") for value in values)
    characters = np.frombuffer(f"{text}\n".encode("ascii"), np.uint8)
    ends = np.flatnonzero(characters == _NEWLINE)
    starts = np.concatenate([[0], ends[:-1] + 1])
    points = ends.copy()
    found = np.flatnonzero(characters == _POINT)
    points[np.searchsorted(ends, found)] = found
    negative = characters[starts] == _MINUS
    before, after = points - starts - negative, np.maximum(ends - points - 1, 0)
    digits = characters[characters >= _ZERO] - _ZERO
    if len(digits) != before.sum() + after.sum() or digits.max() > 9:
        raise ValueError("a number to be stored is not finite")
    groups, whole = _grouped(digits, before, after)
    return _numeric_column(groups, whole, negative, after)


def timestamps(values: Sequence[datetime]) -> Column:
    """A column of type timestamptz."""
    fractions = np.fromiter(map(_MICROSECOND, values), np.int64, len(values))
    # Far away from today a float holds no microseconds any more, but always whole seconds.
    seconds = np.rint(np.fromiter(map(datetime.timestamp, values), np.float64, len(values)) - fractions / 1_000_000)
    return bigints((seconds.astype(np.int64) - _EPOCH) * 1_000_000 + fractions)


def bigints(values: Sequence[int] | NDArray[np.int64]) -> Column:
    """A column of type bigint."""
    return _fixed(np.asarray(values, ">i8"))


def _grouped(
    digits: NDArray[np.uint8], before: NDArray[np.int64], after: NDArray[np.int64]
) -> tuple[NDArray[np.int16], int]:
    """The digits of numbers in PostgreSQL's groups, and how many groups come before the point."""
    whole, rest = -(-int(before.max()) // _GROUP), -(-int(after.max()) // _GROUP)
    places = np.arange(-_GROUP * whole, _GROUP * rest)
    cells = np.zeros((len(before), len(places)), np.int16)
    cells[(places >= -before[:, np.newaxis]) & (places < after[:, np.newaxis])] = digits
    thousands, hundreds, tens, ones = (cells[:, place::_GROUP] for place in range(_GROUP))
    return thousands * 1000 + hundreds * 100 + tens * 10 + ones, whole


def _numeric_column(
    groups: NDArray[np.int16], whole: int, negative: NDArray[np.bool_], scale: NDArray[np.int64]
) -> Column:
    count, width = groups.shape
    cells = np.empty((count, 6 + width), ">u2")
    cells[:, :2] = divmod(8 + 2 * width, 1 << 16)
    cells[:, 2] = width
    cells[:, 3] = (whole - 1) % (1 << 16)
    cells[:, 4] = np.where(negative, _NEGATIVE, 0)
    cells[:, 5] = scale
    cells[:, 6:] = groups
    return Column(_bytes(cells))


def _counting(column: Column) -> NDArray[np.bool_]:
    return np.ones(column.cells.shape, np.bool_) if column.counting is None else column.counting


def _fixed(values: NDArray[np.generic]) -> Column:
    cells = np.empty((len(values), 4 + values.itemsize), np.uint8)
    cells[:, :4] = np.frombuffer(values.itemsize.to_bytes(4, "big"), np.uint8)
    cells[:, 4:] = _bytes(values)
    return Column(cells)


def _bytes(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """The bytes of each row of ``values``."""
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
