"""The rows that broke a rule: listing them, and taking them in after all."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Candle, Symbol, SymbolState, Trade
from services.marketdata.domain.quarantine import Reason
from services.marketdata.domain.rules import RULES, Fault, Horizon, Retention
from services.marketdata.errors import SymbolNotFound
from services.marketdata.ports.candles import CandleStore
from services.marketdata.ports.quarantine import Kept, QuarantineStore, Wanted
from services.marketdata.use_cases.ingest import WriteTrades
from services.runtime.clock import Clock

SourceClock = Callable[[str], Awaitable[datetime | None]]
"""The time by the clock of the source of this name; None while it does not tell."""


class ListQuarantinedRows:
    """Read rows, the newest first."""

    def __init__(self, store: QuarantineStore) -> None:
        self._store = store

    async def __call__(self, wanted: Wanted, before: int | None, size: int) -> tuple[Sequence[Kept], int | None]:
        """A page of rows, and the id that the next page is before; None after the last."""
        rows = await self._store.list(wanted, before, size + 1)
        return rows[:size], rows[size - 1].row_id if len(rows) > size else None


@dataclass
class Replayed:
    """What became of rows."""

    taken_in: list[int] = field(default_factory=list)
    refused: list[Kept] = field(default_factory=list)
    not_found: list[int] = field(default_factory=list)


class ReplayQuarantinedRows:
    """Judge rows again, and take in those that break no rule any more; each once.

    A row was refused alone, so it is judged alone: what comes late is not out of order.
    """

    def __init__(
        self,
        store: QuarantineStore,
        catalog: Catalog,
        write: WriteTrades,
        candles: CandleStore,
        retention: Retention,
        source_now: SourceClock,
        now: Clock,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._write = write
        self._candles = candles
        self._retention = retention
        self._source_now = source_now
        self._now = now

    async def __call__(self, row_ids: Sequence[int]) -> Replayed:
        rows = await self._store.get(row_ids)
        found = {row.row_id for row in rows}
        result = Replayed(not_found=[row_id for row_id in row_ids if row_id not in found])
        clocks = {name: await self._source_now(name) for name in {row.refused.source for row in rows}}
        for row in rows:
            if row.replay_time is not None:
                result.taken_in.append(row.row_id)
                continue
            fault = self._fault(row, clocks[row.refused.source]) or await self._take_in(row.refused.row)
            if fault is None:
                result.taken_in.append(row.row_id)
                await self._store.mark_replayed([row.row_id], self._now())
            else:
                judged = replace(row.refused, reason=fault.reason, detail=fault.detail)
                result.refused.append(replace(row, refused=judged))
        return result

    def _fault(self, kept: Kept, source_now: datetime | None) -> Fault | None:
        refused, row = kept.refused, kept.refused.row
        symbol = self._active(refused.symbol)
        if row is None:
            return Fault(refused.reason, refused.detail)
        if symbol is None:
            return Fault(Reason.UNKNOWN_SYMBOL, f"{refused.symbol} is no active symbol")
        if source_now is None and refused.reason in (Reason.FUTURE, Reason.TOO_OLD):
            return Fault(refused.reason, f"{refused.detail}; the source does not tell its time now")
        rules = RULES[symbol.asset_type]
        if isinstance(row, Trade):
            return rules.trade_fault(row, _horizon(source_now, self._retention.trades))
        return rules.candle_fault(row, _horizon(source_now, self._retention.candles))

    async def _take_in(self, row: Trade | Candle | None) -> Fault | None:
        """Store ``row``, unless another is stored in its place."""
        if isinstance(row, Trade):
            stored = await self._write([row], None)
            return Fault(Reason.CONFLICT, f"another trade {row.trade_id} is stored") if stored.conflicts else None
        if isinstance(row, Candle):
            await self._candles.add([row], None, None)
        return None

    def _active(self, name: str) -> Symbol | None:
        try:
            symbol = self._catalog.get(name)
        except SymbolNotFound:
            return None
        return symbol if symbol.state is SymbolState.ACTIVE else None


def _horizon(now: datetime | None, kept: timedelta) -> Horizon:
    return Horizon() if now is None else Horizon(now, now - kept)
