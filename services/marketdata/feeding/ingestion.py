"""A stream of batches that a producer sends: read ahead so far, committed together, acknowledged in order."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.marketdata.domain.quarantine import Reason
from services.marketdata.domain.rules import TradeOrder
from services.marketdata.errors import IngestSequenceInvalid
from services.marketdata.feeding.patience import Patience
from services.marketdata.use_cases.ingest import IngestTrades, Offered, TakenIn
from services.runtime.broadcast import HEARTBEAT_SECONDS
from services.runtime.errors import DependencyUnavailable

_log = logging.getLogger(__name__)

MOST_WAITING = 100_000
"""So many trades may wait for their acknowledgement; the stream is read no faster."""
_TOGETHER = 20_000
"""About so many trades are committed together."""
_LONGEST_TROUBLE_SECONDS = 30.0
"""So long is tried to store a batch before the stream ends."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a producer sent at once."""

    sequence: int
    rows: Sequence[Offered]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Everything up to a batch is committed."""

    sequence: int
    stored: int
    known: int
    quarantined: Counter[Reason]


@dataclass
class _Waiting:
    """Batches that were read and are not committed yet."""

    batches: deque[Batch] = field(default_factory=deque)
    rows: int = 0
    ended: bool = False
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def put(self, batch: Batch) -> None:
        """Wait for room, and take in ``batch``."""
        async with self.changed:
            await self.changed.wait_for(lambda: not self.rows or self.rows + len(batch.rows) <= MOST_WAITING)
            self.batches.append(batch)
            self.rows += len(batch.rows)
            self.changed.notify_all()

    async def end(self) -> None:
        """Nothing more comes."""
        async with self.changed:
            self.ended = True
            self.changed.notify_all()

    async def first(self) -> list[Batch]:
        """Wait for batches, and return the first of them; none when nothing more comes. They go on waiting."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.batches or self.ended)
            together, rows = [], 0
            for batch in self.batches:
                together.append(batch)
                rows += len(batch.rows)
                if rows >= _TOGETHER:
                    break
            return together

    async def committed(self, batches: Sequence[Batch]) -> None:
        """These wait no longer."""
        async with self.changed:
            for batch in batches:
                self.batches.popleft()
                self.rows -= len(batch.rows)
            self.changed.notify_all()


async def acknowledged(batches: AsyncIterator[Batch], ingest: IngestTrades) -> AsyncIterator[Acknowledged | None]:
    """What has been committed of ``batches``, as it happens; None first, and whenever nothing happens for a while.

    Raises IngestSequenceInvalid after all before was acknowledged; DependencyUnavailable when nothing can be stored.
    """
    waiting, order = _Waiting(), TradeOrder()
    yield None
    reading = asyncio.ensure_future(_read(batches, waiting))
    try:
        while True:
            first = asyncio.ensure_future(waiting.first())
            async for _ in _beats_until(first):
                yield None
            together = first.result()
            if not together:
                await reading
                return
            committing = asyncio.ensure_future(_commit(together, ingest, order))
            async for _ in _beats_until(committing):
                yield None
            taken = committing.result()
            await waiting.committed(together)
            yield Acknowledged(together[-1].sequence, taken.stored, taken.known, taken.quarantined)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _read(batches: AsyncIterator[Batch], waiting: _Waiting) -> None:
    newest = 0
    try:
        async for batch in batches:
            if batch.sequence <= newest:
                raise IngestSequenceInvalid(
                    f"batch {batch.sequence} comes after batch {newest}; give each batch a larger number"
                )
            newest = batch.sequence
            await waiting.put(batch)
    finally:
        await waiting.end()


async def _commit(batches: Sequence[Batch], ingest: IngestTrades, order: TradeOrder) -> TakenIn:
    """Commit ``batches``, trying again for a while. Raises DependencyUnavailable."""
    judged = await ingest.judge([row for batch in batches for row in batch.rows], order)
    patience, clock = Patience(), asyncio.get_running_loop().time
    give_up = clock() + _LONGEST_TROUBLE_SECONDS
    while True:
        try:
            return await ingest(judged)
        except Exception as error:
            _log.exception("trades of a producer not stored", extra={"trades": len(judged.trades)})
            if clock() >= give_up:
                raise DependencyUnavailable(
                    "the trades cannot be stored now; send what was not acknowledged again later", part="database"
                ) from error
            await asyncio.sleep(patience.lost())


async def _beats_until(work: "asyncio.Future[Any]") -> AsyncIterator[None]:
    """None whenever ``work`` has gone on for another while; ends with it. Cancelled, it cancels ``work``."""
    try:
        while not (await asyncio.wait({work}, timeout=HEARTBEAT_SECONDS))[0]:
            yield None
    finally:
        if not work.done():
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
