"""Removing rows that are of no use any more, so many at a time that nobody else waits for it."""

from sqlalchemy import ColumnElement, Table, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

BATCH = 1_000


async def purge(engine: AsyncEngine, table: Table, *conditions: ColumnElement[bool], batch: int = BATCH) -> int:
    """Remove the rows of ``table`` that meet all ``conditions``, a transaction for each ``batch``; how many there were.

    Rows that somebody works on, such as another replica that does the same, are left for the next time.
    """
    key = tuple(table.primary_key.columns)
    some = select(*key).where(*conditions).limit(batch).with_for_update(skip_locked=True)
    removed = 0
    while True:
        async with engine.begin() as connection:
            count = (await connection.execute(delete(table).where(tuple_(*key).in_(some)))).rowcount
        removed += count
        if count < batch:
            return removed
