"""What goes into PostgreSQL as binary COPY comes out of it again, to the last digit and microsecond."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from services.marketdata.adapters import copy_encoding as encode

Row = tuple[str, str, Decimal, datetime, int]

# A trade's id can be any text that PostgreSQL can hold.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
NUMBERS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**10), max_value=10**10),
    # Up to what the rules let in, in any spelling: 1E+3, 0E-7, 120.00, 1E-18.
    st.builds(
        lambda sign, digits, exponent: Decimal((sign, digits, exponent)),
        st.sampled_from([0, 1]),
        st.lists(st.integers(0, 9), min_size=1, max_size=38).map(tuple),
        st.integers(-40, 20),
    ),
)
ZONES = [UTC, timezone(timedelta(hours=-5, minutes=-30)), ZoneInfo("Europe/Istanbul")]
FIRST, LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
TIMES = st.builds(
    lambda passed, zone: (FIRST + passed).astimezone(zone),
    st.timedeltas(timedelta(0), LAST - FIRST),
    st.sampled_from(ZONES),
)
ROWS = st.lists(
    st.tuples(TEXTS, st.sampled_from(["buy", "sell", "", "ß€𝄞"]), NUMBERS, TIMES, st.integers(-(2**63), 2**63 - 1)),
    min_size=1,
    max_size=30,
)


class Table:
    """A table of rows, read back as they were put in."""

    def __init__(self, runner: asyncio.Runner, connection: "asyncpg.Connection") -> None:
        self._runner = runner
        self._connection = connection

    def copied(self, data: bytes) -> list[tuple[Any, ...]]:
        return self._runner.run(self._copied(data))

    async def _copied(self, data: bytes) -> list[tuple[Any, ...]]:
        connection = self._connection
        await connection.execute("TRUNCATE copied")
        source = memoryview(encode.HEADER + data + encode.TRAILER)
        await connection.copy_to_table("copied", source=source, format="binary")
        return [tuple(row) for row in await connection.fetch("SELECT * FROM copied ORDER BY ctid")]


@pytest.fixture
def table(database_url: Callable[[str], str]) -> Iterator[Table]:
    url = make_url(database_url("marketdata")).set(drivername="postgresql").render_as_string(hide_password=False)
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(url))
        columns = "name text, side text, number numeric, moment timestamptz, count bigint, spelled text"
        runner.run(connection.execute(f"CREATE TEMPORARY TABLE copied ({columns})"))
        yield Table(runner, connection)
        runner.run(connection.close())


def encoded(rows: list[Row]) -> bytes:
    names, sides, numbers, moments, counts = zip(*rows, strict=True)
    return encode.rows(
        encode.texts(names),
        encode.repeated_texts(sides),
        encode.numerics(numbers),
        encode.timestamps(moments),
        encode.bigints(counts),
        encode.texts([format(number, "f") for number in numbers]),
    )


def places(spelled: str) -> int:
    return len(spelled.partition(".")[2])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS)
def test_what_is_read_back_equals_what_went_in(table: Table, rows: list[Row]) -> None:
    read = table.copied(encoded(rows))
    assert [row[:5] for row in read] == [(*row[:3], row[3].astimezone(UTC), row[4]) for row in rows]
    # The places after the point are kept, too: 1.50 is told as 1.50.
    assert [places(format(row[2], "f")) for row in read] == [places(row[5]) for row in read]


@pytest.mark.parametrize("number", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_not_encoded(number: str) -> None:
    with pytest.raises(ValueError, match="finite"):
        encode.numerics([Decimal(1), Decimal(number)])
