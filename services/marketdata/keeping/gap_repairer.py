"""Repairs gaps in the trades of a source, in the background."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from prometheus_client import Gauge

from services.marketdata.domain.gaps import Found, Gap
from services.marketdata.domain.market import TakerSide, Trade
from services.marketdata.feeding.patience import Patience
from services.marketdata.keeping.candle_keeper import CandleKeeper
from services.marketdata.ports.gaps import GapStore
from services.marketdata.ports.leases import Lease, LeaseLost
from services.marketdata.ports.sources import Source, SourceUnavailable
from services.marketdata.ports.trades import Stored
from services.runtime.clock import Clock

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_ASKED_AT_MOST = 6
"""How often a source is asked for what it has not, as long as it may only be late with it."""

OPEN_GAPS = Gauge("marketdata_open_gaps", "Gaps in the trades that wait to be repaired.", ["source"])

WriteTrades = Callable[[Sequence[Trade], Lease | None], Awaitable[Stored]]


class GapRepairer:
    """Asks a source for what is missing, stores it in the way of live trades, and closes the gap.

    A gap whose repair fails is tried again, later each time; meanwhile the others have their turn.
    """

    def __init__(self, source: Source, gaps: GapStore, write: WriteTrades, now: Clock) -> None:
        self._source = source
        self._gaps = gaps
        self._write = write
        self._now = now
        self._lease: Lease | None = None
        self._patience: dict[uuid.UUID, Patience] = {}
        self._asked: dict[uuid.UUID, int] = {}

    async def __call__(self, lease: Lease | None, keepers: Callable[[], Iterable[CandleKeeper]]) -> None:
        """Repair the gaps that ``keepers`` know, until it is cancelled or LeaseLost is raised."""
        self._lease = lease
        self._patience.clear()
        self._asked.clear()
        while True:
            await self.look(keepers())
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self, keepers: Iterable[CandleKeeper]) -> None:
        """Try to repair the gaps that ``keepers`` know and whose turn it is."""
        opened = [(keeper, gap) for keeper in keepers for gap in keeper.coverage.open_gaps]
        OPEN_GAPS.labels(self._source.name).set(len(opened))
        for keeper, gap in opened:
            if self._patience.setdefault(gap.gap_id, Patience()).is_over:
                await self._try(keeper, gap)

    async def _try(self, keeper: CandleKeeper, gap: Gap) -> None:
        try:
            await self._repair(keeper, gap)
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever fails is told, and tried again later
            _log.warning(
                "gap not repaired", extra={"symbol": gap.symbol, "gap": str(gap.gap_id), "problem": repr(error)}
            )
            self._patience[gap.gap_id].lost()
            problem = str(error) if isinstance(error, SourceUnavailable) else "it could not be stored; see the log"
            with suppress(Exception):
                await self._gaps.progressed(replace(gap, problem=problem), self._lease)

    async def _repair(self, keeper: CandleKeeper, gap: Gap) -> None:
        found = Found(gap)
        new_rows = 0
        after = _before(gap)
        ends = False
        while not ends:
            page = await self._source.past_trades(keeper.symbol, after, gap.start_time)
            if not page:
                break
            wanted = [trade for trade in page if gap.misses(trade)]
            if wanted:
                new_rows += len((await self._write(wanted, self._lease)).new)
                found.add(wanted)
                await self._gaps.progressed(replace(gap, repaired_rows=gap.repaired_rows + new_rows), self._lease)
            ends = any(gap.is_before(trade) for trade in page)
            after = page[-1]
        if not ends and not found.is_whole and not self._is_given_up(gap):
            problem = "the source has nothing yet of what follows the gap"
            await self._gaps.progressed(
                replace(gap, repaired_rows=gap.repaired_rows + new_rows, problem=problem), self._lease
            )
            return
        closed = gap.closed(found, new_rows, self._now())
        await self._gaps.close(closed, self._lease)
        keeper.closed(closed)
        self._patience.pop(gap.gap_id, None)
        self._asked.pop(gap.gap_id, None)

    def _is_given_up(self, gap: Gap) -> bool:
        """Whether the source has been asked often enough; if not, it is asked again later."""
        self._asked[gap.gap_id] = self._asked.get(gap.gap_id, 0) + 1
        self._patience[gap.gap_id].lost()
        return self._asked[gap.gap_id] >= _ASKED_AT_MOST


def _before(gap: Gap) -> Trade | None:
    """The trade before the first that is missing, where its number is known."""
    if gap.numbers is None:
        return None
    time: datetime = gap.start_time
    number = str(gap.numbers[0] - 1)
    return Trade(gap.symbol, number, Decimal(0), Decimal(0), TakerSide.UNKNOWN, time, time)
