"""Taking in what producers send."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Channel, Symbol, SymbolState, Trade
from services.marketdata.domain.quarantine import Reason, Refused
from services.marketdata.domain.rules import RULES, Fault, Horizon, Retention, TradeOrder
from services.marketdata.errors import SymbolNotFound
from services.marketdata.ports.leases import Lease
from services.marketdata.ports.quarantine import QuarantineKeeper
from services.marketdata.ports.trades import Stored
from services.marketdata.source_settings import IngestSettings
from services.runtime.clock import Clock

_AT_ONCE = 500
"""So many rows are judged without a pause."""

WriteTrades = Callable[[Sequence[Trade], Lease | None], Awaitable[Stored]]
"""Stores trades as TradeStore.add does, and has them published."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A row that a producer sent."""

    symbol: str
    raw: Callable[[], str]
    """The row as JSON; made only of rows that are refused."""
    read: Callable[[datetime], Trade]
    """The trade in it, received at a moment. Raises ValueError when there is none."""


@dataclass
class Judged:
    """Rows and what is to become of them."""

    trades: list[Trade] = field(default_factory=list)
    """Those that break no rule."""
    rows: list[Offered] = field(default_factory=list)
    """The rows of these, in the same order."""
    refused: list[Refused] = field(default_factory=list)


@dataclass
class TakenIn:
    """What became of rows."""

    stored: int = 0
    known: int = 0
    quarantined: Counter[Reason] = field(default_factory=Counter)


class IngestTrades:
    """Store judged trades of producers, or put them into quarantine, before it returns.

    The time of producers is ours.
    """

    def __init__(
        self,
        catalog: Catalog,
        sources: Mapping[str, IngestSettings],
        write: WriteTrades,
        quarantine: QuarantineKeeper,
        retention: Retention,
        now: Clock,
    ) -> None:
        self._catalog = catalog
        self._sources = sources
        self._write = write
        self._quarantine = quarantine
        self._retention = retention
        self._now = now

    async def judge(self, rows: Sequence[Offered], order: TradeOrder) -> Judged:
        """What is to become of ``rows``, which follow those that ``order`` has seen."""
        received, judged = self._now(), Judged()
        for index, row in enumerate(rows):
            if index % _AT_ONCE == 0:
                # Many rows take a while, and others have their turn in between.
                await asyncio.sleep(0)
            trade, fault = self._judge(row, order, received)
            if fault is not None:
                judged.refused.append(_refused(row, fault, trade, received))
            elif trade is not None:
                judged.trades.append(trade)
                judged.rows.append(row)
        return judged

    async def __call__(self, judged: Judged) -> TakenIn:
        """Take in rows that were judged. Raises whatever the stores raise; then it may be done again."""
        taken = TakenIn(quarantined=Counter(row.reason for row in judged.refused))
        if judged.refused:
            await self._quarantine.add(judged.refused)
        if not judged.trades:
            return taken
        stored = await self._write(judged.trades, None)
        taken.stored, taken.known = len(stored.new), stored.known
        if stored.conflicts:
            rows = {id(trade): row for trade, row in zip(judged.trades, judged.rows, strict=True)}
            conflicts = [_conflict(rows[id(trade)], trade) for trade in stored.conflicts]
            await self._quarantine.add(conflicts)
            taken.quarantined[Reason.CONFLICT] += len(conflicts)
        return taken

    def _judge(self, row: Offered, order: TradeOrder, received: datetime) -> tuple[Trade | None, Fault | None]:
        try:
            trade = row.read(received)
        except (ValueError, ArithmeticError) as error:
            return None, Fault(Reason.MALFORMED, str(error))
        symbol = self._symbol(row.symbol)
        settings = None if symbol is None else self._sources.get(symbol.source)
        if symbol is None or settings is None or symbol.state is not SymbolState.ACTIVE:
            return trade, Fault(Reason.UNKNOWN_SYMBOL, f"{row.symbol} is no active symbol whose trades producers send")
        horizon = Horizon(received + settings.future_tolerance, received - self._retention.trades)
        return trade, RULES[symbol.asset_type].trade_fault(trade, horizon) or order.fault(trade)

    def _symbol(self, name: str) -> Symbol | None:
        try:
            return self._catalog.get(name)
        except SymbolNotFound:
            return None


def _refused(row: Offered, fault: Fault, trade: Trade | None, received: datetime) -> Refused:
    source = row.symbol.partition("@")[2]
    return Refused(source, row.symbol, Channel.TRADES, fault.reason, fault.detail, row.raw(), received, trade)


def _conflict(row: Offered, trade: Trade) -> Refused:
    fault = Fault(Reason.CONFLICT, f"another trade {trade.trade_id} is stored")
    return _refused(row, fault, trade, trade.receive_time)
