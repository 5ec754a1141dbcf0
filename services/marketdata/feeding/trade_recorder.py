"""Stores live trades in batches."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from services.marketdata.domain.market import Channel, Trade
from services.marketdata.domain.quarantine import Reason, Refused
from services.marketdata.feeding.patience import Patience
from services.marketdata.ports.leases import Lease, LeaseLost
from services.marketdata.ports.quarantine import Quarantine
from services.marketdata.ports.trades import Stored

_log = logging.getLogger(__name__)

_BATCH = 20_000
_STOP_SECONDS = 2.0
MOST_WAITING = 200_000
"""How many trades wait at most while the store is away."""


Write = Callable[[Sequence[Trade], Lease | None], Awaitable[Stored]]
"""Stores trades under a lease, as TradeWriter does."""


class RecorderFull(Exception):
    """The store is away for too long: no trade is taken until there is room again."""


class TradeRecorder:
    """Writes whatever is waiting of one source's trades, as soon as the batch before is written.

    What was taken is stored, however long the store is away, and also if the lease has been lost meanwhile: a trade is
    a fact, whoever stores it, and it is stored once.
    """

    def __init__(self, write: Write, quarantine: Quarantine, source: str) -> None:
        self.lease: Lease | None = None
        """What the trades are stored under while this replica leads."""
        self.lease_lost = asyncio.Event()
        """Set when the store says that another replica leads."""
        self.rows = 0
        """How many trades were new."""
        self.quarantined = 0
        """How many were in conflict with stored ones."""
        self._write = write
        self._quarantine = quarantine
        self._source = source
        self._waiting: list[Trade] = []
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()

    @property
    def is_empty(self) -> bool:
        """Whether all that was taken is stored."""
        return not self._waiting

    def lead(self, lease: Lease) -> None:
        """From now on this replica leads the source."""
        self.lease, self.rows, self.quarantined = lease, 0, 0
        self.lease_lost.clear()

    def add(self, trades: Sequence[Trade]) -> None:
        """Take in all of ``trades``; never waits. Raises RecorderFull, and has taken none."""
        if self._waiting and len(self._waiting) + len(trades) > MOST_WAITING:
            self._room.clear()
            raise RecorderFull(f"trades of {self._source} are not taken: the store is away for too long")
        self._waiting += trades
        self._flushed.clear()
        self._news.set()

    async def room(self) -> None:
        """Wait, after RecorderFull, until trades are taken again."""
        await self._room.wait()

    async def flushed(self) -> None:
        """Wait until all that was taken is stored."""
        await self._flushed.wait()

    async def run(self) -> None:
        """Write for ever; when cancelled, write what waits, if the store takes it at once."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                await self._write_all()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await self._write_all()

    async def _write_all(self) -> None:
        while self._waiting:
            batch = self._waiting[:_BATCH]
            await self._record(batch)
            # Only now, so that a batch whose writing was interrupted is written again.
            del self._waiting[: len(batch)]
            if len(self._waiting) < MOST_WAITING // 2:
                self._room.set()
        self._flushed.set()

    async def _record(self, batch: list[Trade]) -> None:
        patience = Patience()
        while True:
            try:
                stored = await self._write(batch, self.lease)
                break
            except LeaseLost as error:
                _log.warning("the lease is lost", extra={"source": self._source, "problem": str(error)})
                self.lease = None
                self.lease_lost.set()
            except Exception:  # noqa: BLE001 - whatever fails is logged and tried again; the batch must not be lost
                _log.exception("trades not stored")
                await asyncio.sleep(patience.lost())
        self.rows += len(stored.new)
        self.quarantined += len(stored.conflicts)
        for trade in stored.conflicts:
            self._quarantine.put(_conflict(self._source, trade))


def _conflict(source: str, trade: Trade) -> Refused:
    raw = {
        "trade_id": trade.trade_id,
        "price": str(trade.price),
        "quantity": str(trade.quantity),
        "taker_side": trade.taker_side.value,
        "trade_time": trade.trade_time.isoformat(),
    }
    detail = f"another trade {trade.trade_id} is stored"
    return Refused(
        source, trade.symbol, Channel.TRADES, Reason.CONFLICT, detail, json.dumps(raw), trade.receive_time, trade
    )
