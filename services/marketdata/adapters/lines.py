"""Lines in PostgreSQL."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.marketdata.ports.lines import Line

_BEGIN = """
INSERT INTO marketdata.lines (line, last_sequence) SELECT unnest(CAST(:lines AS text[])), 0 ON CONFLICT DO NOTHING
"""

# Always in the same order, so that two writers of several lines never wait for each other.
_LOCK = """
SELECT line, last_sequence, newest_number FROM marketdata.lines
WHERE line = ANY(:lines) ORDER BY line FOR NO KEY UPDATE
"""

_ADVANCE = """
UPDATE marketdata.lines SET last_sequence = ends.last_sequence, newest_number = ends.newest_number
FROM unnest(CAST(:lines AS text[]), CAST(:lasts AS bigint[]), CAST(:numbers AS bigint[]))
    AS ends (line, last_sequence, newest_number)
WHERE lines.line = ends.line
"""

_GET = "SELECT line, last_sequence, published_sequence FROM marketdata.lines WHERE line = ANY(:lines)"

_PUT_PUBLISHED = """
WITH told AS (
    SELECT line, published_sequence
    FROM unnest(CAST(:lines AS text[]), CAST(:sequences AS bigint[])) AS told (line, published_sequence)
), locked AS (
    SELECT line FROM marketdata.lines JOIN told USING (line)
    WHERE lines.published_sequence < told.published_sequence ORDER BY line FOR NO KEY UPDATE OF lines
)
UPDATE marketdata.lines SET published_sequence = least(told.published_sequence, lines.last_sequence)
FROM told JOIN locked USING (line) WHERE lines.line = told.line
"""


@dataclass(frozen=True, slots=True)
class End:
    """Where a line ends."""

    last_sequence: int = 0
    newest_number: int | None = None
    """The highest number that is the id of a stored row; None where no id is one."""


class PostgresLines:
    """Implements Lines."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def get(self, names: Sequence[str]) -> dict[str, Line]:
        async with self._engine.connect() as connection:
            rows = await connection.execute(text(_GET), {"lines": list(names)})
            return {line: Line(last, published) for line, last, published in rows}

    async def put_published(self, sequences: Mapping[str, int]) -> None:
        values = {"lines": list(sequences), "sequences": list(sequences.values())}
        async with self._engine.begin() as connection:
            await connection.execute(text(_PUT_PUBLISHED), values)


async def lock(connection: AsyncConnection, lines: Iterable[str]) -> dict[str, End]:
    """Where these lines end; nobody else moves their ends before the end of this transaction.

    What was stored before in these lines is visible to the statements that follow.
    """
    names = sorted(set(lines))
    ends = await _lock(connection, names)
    if len(ends) < len(names):
        await connection.execute(text(_BEGIN), {"lines": names})
        ends = await _lock(connection, names)
    return ends


async def advance(connection: AsyncConnection, ends: Mapping[str, End]) -> None:
    """These locked lines end here from now on."""
    values = {
        "lines": list(ends),
        "lasts": [end.last_sequence for end in ends.values()],
        "numbers": [end.newest_number for end in ends.values()],
    }
    await connection.execute(text(_ADVANCE), values)


async def _lock(connection: AsyncConnection, names: list[str]) -> dict[str, End]:
    rows = await connection.execute(text(_LOCK), {"lines": names})
    return {line: End(last, number) for line, last, number in rows}
