"""What was taken is stored, through failures of the store and the loss of the lease; beyond a bound none is taken."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from services.marketdata.domain.market import Trade
from services.marketdata.domain.quarantine import Reason, Refused
from services.marketdata.feeding import trade_recorder
from services.marketdata.feeding.trade_recorder import RecorderFull, TradeRecorder
from services.marketdata.ports.leases import Lease, LeaseLost
from services.marketdata.ports.trades import Stored
from tests.unit.marketdata.builders import BTC, a_trade

LEASE = Lease("simex", "here", 1)


@dataclass
class FakeWriter:
    """Stores trades by hand; its first calls fail."""

    failures: list[Exception] = field(default_factory=list)
    stored: list[Trade] = field(default_factory=list)
    leases: list[Lease | None] = field(default_factory=list)
    conflicting: Collection[str] = ()
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, trades: Sequence[Trade], lease: Lease | None) -> Stored:
        self.leases.append(lease)
        if self.failures:
            raise self.failures.pop(0)
        conflicts = [trade for trade in trades if trade.trade_id in self.conflicting]
        new = [trade for trade in trades if trade not in conflicts]
        self.stored += new
        self.news.set()
        return Stored(new, 0, conflicts)


@dataclass
class FakeQuarantine:
    """Implements Quarantine."""

    rows: list[Refused] = field(default_factory=list)

    def put(self, row: Refused) -> None:
        self.rows.append(row)


@asynccontextmanager
async def recording(writer: FakeWriter, quarantine: FakeQuarantine | None = None) -> AsyncIterator[TradeRecorder]:
    recorder = TradeRecorder(writer, quarantine or FakeQuarantine(), "simex")
    recorder.lead(LEASE)
    work = asyncio.create_task(recorder.run())
    try:
        async with asyncio.timeout(5):
            yield recorder
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


async def test_trades_are_stored_in_order_though_the_store_fails_first() -> None:
    writer = FakeWriter([ConnectionError("the database is away")])
    trades = [a_trade(number, number) for number in range(3)]
    async with recording(writer) as recorder:
        recorder.add(trades)
        await writer.news.wait()
    assert (writer.stored, writer.leases) == (trades, [LEASE, LEASE])
    assert (recorder.rows, recorder.is_empty) == (3, True)


async def test_what_was_taken_is_stored_also_when_the_lease_is_lost_and_whoever_leads_is_told() -> None:
    writer = FakeWriter([LeaseLost("another replica has it")])
    async with recording(writer) as recorder:
        recorder.add([a_trade(1, 1)])
        await recorder.lease_lost.wait()
        await writer.news.wait()
    assert (writer.stored, writer.leases) == ([a_trade(1, 1)], [LEASE, None])


async def test_a_trade_in_conflict_with_a_stored_one_goes_to_quarantine() -> None:
    writer, quarantine = FakeWriter(conflicting={"2"}), FakeQuarantine()
    async with recording(writer, quarantine) as recorder:
        recorder.add([a_trade(1, 1), a_trade(2, 2)])
        await writer.news.wait()
    (row,) = quarantine.rows
    assert (row.source, row.symbol, row.reason, row.row) == ("simex", BTC, Reason.CONFLICT, a_trade(2, 2))
    assert (recorder.rows, recorder.quarantined) == (1, 1)


async def test_beyond_its_bound_a_recorder_takes_nothing_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trade_recorder, "MOST_WAITING", 4)
    writer = FakeWriter([ConnectionError("the database is away")])
    async with recording(writer) as recorder:
        recorder.add([a_trade(number, number) for number in range(3)])
        with pytest.raises(RecorderFull):
            recorder.add([a_trade(3, 3), a_trade(4, 4)])
        await recorder.room()
        recorder.add([a_trade(3, 3), a_trade(4, 4)])
        while len(writer.stored) < 5:
            writer.news.clear()
            await writer.news.wait()
    assert writer.stored == [a_trade(number, number) for number in range(5)]
