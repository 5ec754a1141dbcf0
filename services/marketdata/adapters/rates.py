"""Reference rates in PostgreSQL."""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import groupby

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.marketdata.domain.rates import Rate

_AT_ONCE = 10_000
_WEEK = timedelta(days=7)

_ADD = """
INSERT INTO marketdata.rates (source, base, quote, day, rate)
SELECT * FROM unnest(
    CAST(:sources AS text[]), CAST(:bases AS text[]), CAST(:quotes AS text[]), CAST(:days AS date[]),
    CAST(:rates AS numeric[])
)
ON CONFLICT (source, base, day, quote) DO UPDATE SET rate = excluded.rate WHERE rates.rate <> excluded.rate
RETURNING 1
"""

_NEWEST_DAY = "SELECT max(day) FROM marketdata.rates WHERE source = :source"

_OF_DAY = """
WITH complete AS (
    SELECT source, base, day FROM marketdata.rates
    WHERE day BETWEEN :first AND :day AND quote = ANY(:currencies) AND (:source = '' OR source = :source)
    GROUP BY source, base, day
    HAVING count(*) = cardinality(CAST(:currencies AS text[])) - CAST(base = ANY(:currencies) AS integer)
), newest AS (
    SELECT DISTINCT ON (source, base) source, base, day FROM complete ORDER BY source, base, day DESC
)
SELECT source, base, quote, day, rate FROM newest JOIN marketdata.rates USING (source, base, day)
WHERE quote = ANY(:currencies) ORDER BY day DESC, source, base, quote
"""


class PostgresRates:
    """Implements RateStore."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, rates: Sequence[Rate]) -> int:
        added = 0
        async with self._engine.begin() as connection:
            for start in range(0, len(rates), _AT_ONCE):
                some = rates[start : start + _AT_ONCE]
                columns = {
                    "sources": [rate.source for rate in some],
                    "bases": [rate.base for rate in some],
                    "quotes": [rate.quote for rate in some],
                    "days": [rate.day for rate in some],
                    "rates": [rate.rate for rate in some],
                }
                added += len((await connection.execute(text(_ADD), columns)).all())
        return added

    async def newest_day(self, source: str) -> date | None:
        async with self._engine.connect() as connection:
            newest: date | None = (await connection.execute(text(_NEWEST_DAY), {"source": source})).scalar_one()
            return newest

    async def of_day(self, day: date, currencies: Sequence[str], source: str) -> list[list[Rate]]:
        values = {"day": day, "first": day - _WEEK, "currencies": sorted(set(currencies)), "source": source}
        async with self._engine.connect() as connection:
            rows = [Rate(*row) for row in await connection.execute(text(_OF_DAY), values)]
        return [list(group) for _, group in groupby(rows, key=lambda rate: (rate.source, rate.base))]
