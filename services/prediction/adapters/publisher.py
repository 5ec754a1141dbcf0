"""From the stored signals to the journal, each once."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from levimesh.prediction.v1 import prediction_pb2
from services.prediction import converters as convert
from services.prediction.adapters.tables import predictions, published_until, signals
from services.prediction.domain.predictions import Direction, Prediction, Signal
from services.runtime.journal import START, Journal
from services.runtime.relay import BATCH, Relay

TOPIC = "prediction.signals"


class SignalPublisher(Relay):
    """Appends signals to the journal in the order in which they were stored.

    A publisher that dies between appending and marking leaves signals in the journal after the offset that is stored
    with the marks; they are found there, and only marked.
    """

    def __init__(self, engine: AsyncEngine, journal: Journal, *, idle_seconds: float = 1.0) -> None:
        super().__init__(engine, "prediction signal publisher", idle_seconds=idle_seconds)
        self._journal = journal

    async def _hand_on(self, connection: AsyncConnection) -> int:
        if waiting := await _waiting(connection):
            offset = await self._append(await _offset(connection), waiting)
            await _mark(connection, [signal.prediction.prediction_id for signal in waiting], offset)
        return len(waiting)

    async def _append(self, offset: str, waiting: Sequence[Signal]) -> str:
        """Append what is not in the journal after ``offset``; returns the offset of the newest."""
        there = await self._journal.read(TOPIC, offset, BATCH)
        appended = {prediction_pb2.Signal.FromString(entry.event).prediction.prediction_id for entry in there}
        events = [
            (signal.prediction.symbol, convert.signal_to_pb(signal).SerializeToString())
            for signal in waiting
            if str(signal.prediction.prediction_id) not in appended
        ]
        offsets = [entry.offset for entry in there] + (await self._journal.append(TOPIC, events) if events else [])
        return offsets[-1]


async def _waiting(connection: AsyncConnection) -> list[Signal]:
    query = (
        select(predictions, signals.c.threshold, signals.c.create_time)
        .join(signals, signals.c.prediction_id == predictions.c.prediction_id)
        .where(~signals.c.published)
        .order_by(signals.c.sequence)
        .limit(BATCH)
    )
    return [_signal(row) for row in (await connection.execute(query)).mappings()]


async def _offset(connection: AsyncConnection) -> str:
    query = select(published_until.c.journal_offset).where(published_until.c.topic == TOPIC)
    return await connection.scalar(query) or START


async def _mark(connection: AsyncConnection, published: Sequence[UUID], offset: str) -> None:
    await connection.execute(update(signals).where(signals.c.prediction_id.in_(published)).values(published=True))
    until = upsert(published_until).values(topic=TOPIC, journal_offset=offset)
    await connection.execute(
        until.on_conflict_do_update(index_elements=["topic"], set_={"journal_offset": until.excluded.journal_offset})
    )


def _signal(row: RowMapping) -> Signal:
    prediction = {column.name: row[column.name] for column in predictions.columns}
    return Signal(
        Prediction(**prediction | {"direction": Direction(row["direction"])}), row["threshold"], row["create_time"]
    )
