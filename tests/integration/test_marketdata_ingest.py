"""Trades that producers send: nothing lost, nothing twice, what breaks a rule in quarantine."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from levimesh.marketdata.v1 import ingest_service_pb2 as pb
from levimesh.marketdata.v1 import ingest_service_pb2_grpc as pb_grpc
from levimesh.marketdata.v1 import quality_pb2, quality_service_pb2, quality_service_pb2_grpc, trade_pb2
from services.marketdata.adapters.candles import PostgresCandles
from services.marketdata.adapters.gaps import PostgresGaps
from services.marketdata.adapters.journal import trade_lines
from services.marketdata.adapters.lines import PostgresLines
from services.marketdata.adapters.quality import PostgresQuality
from services.marketdata.adapters.quarantine import PostgresQuarantine
from services.marketdata.adapters.source_states import PostgresSourceStates
from services.marketdata.adapters.trades import PostgresTrades
from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Symbol, SymbolState
from services.marketdata.domain.rules import Retention
from services.marketdata.feeding.line_publisher import LinePublisher
from services.marketdata.feeding.quarantine_recorder import QuarantineMetrics, QuarantineRecorder
from services.marketdata.feeding.trade_writer import TradeWriter
from services.marketdata.keeping.repairs import RepairParts
from services.marketdata.ports.leases import Lease
from services.marketdata.ports.trades import Stored
from services.marketdata.servicers.ingest import IngestServicer
from services.marketdata.servicers.quality import DataQualityServicer
from services.marketdata.servicers.quality_reports import QualityReports
from services.marketdata.source_settings import IngestSettings
from services.marketdata.use_cases.ingest import IngestTrades
from services.marketdata.use_cases.quality_report import MeasureQuality
from services.marketdata.use_cases.quarantine import ListQuarantinedRows, ReplayQuarantinedRows
from services.marketdata.use_cases.sources import ListSources
from services.runtime import decimals, timestamps
from services.runtime.clock import utc_now
from services.runtime.database import open_database
from services.runtime.journal import open_journal
from tests.mesh import Served, a_token, bearing, error_info, serving

if TYPE_CHECKING:
    from levimesh.marketdata.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub
    from levimesh.marketdata.v1.quality_service_pb2_grpc import DataQualityServiceAsyncStub

INGEST = pb.DESCRIPTOR.services_by_name["IngestService"]
QUALITY = quality_service_pb2.DESCRIPTOR.services_by_name["DataQualityService"]
BTC = "BTC-USDT@desk"
ADMIN = bearing(a_token("ROLE_ADMIN"))
NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
KEPT = Retention(timedelta(days=7), timedelta(days=800))


def a_symbol(name: str = BTC, **values: Any) -> Symbol:
    pair, _, source = name.partition("@")
    base, quote = pair.split("-")
    symbol = Symbol(name, base, quote, source, pair, Decimal("0.01"), Decimal("0.00001"), Decimal(5))
    return replace(symbol, **values)


def a_trade(number: int, *, price: str = "100.5", seconds: float | None = None, symbol: str = BTC) -> trade_pb2.Trade:
    time = NOW - timedelta(hours=1) + timedelta(seconds=number / 100 if seconds is None else seconds)
    return trade_pb2.Trade(
        symbol=symbol,
        trade_id=str(number),
        price=decimals.to_pb(Decimal(price)),
        quantity=decimals.to_pb(Decimal("0.25")),
        taker_side=trade_pb2.TAKER_SIDE_BUY,
        trade_time=timestamps.to_pb(time),
    )


def a_batch(sequence: int, *trades: trade_pb2.Trade) -> pb.IngestTradesRequest:
    return pb.IngestTradesRequest(sequence=sequence, trades=trades)


@dataclass
class Gate:
    """Implements TradeStore.add; it may fail for a while."""

    store: PostgresTrades
    failures: int = 0

    async def add(self, trades: Sequence[Any], lease: Lease | None) -> Stored:
        if self.failures:
            self.failures -= 1
            raise OSError("the database is away")
        return await self.store.add(trades, lease)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@dataclass(frozen=True)
class Desk:
    """A running service that takes in trades, and its database."""

    engine: AsyncEngine
    catalog: Catalog
    gate: Gate
    served: Served
    ingest: "IngestServiceAsyncStub"
    quality: "DataQualityServiceAsyncStub"

    async def stored(self) -> list[tuple[str, int]]:
        """The ids and sequences of all stored trades, in the order in which they were stored."""
        async with self.engine.connect() as connection:
            rows = await connection.execute(text("SELECT trade_id, sequence FROM marketdata.trades ORDER BY sequence"))
            return [(str(trade_id), sequence) for trade_id, sequence in rows]

    async def rows(self, **filters: Any) -> Sequence[quality_pb2.QuarantinedRow]:
        """The rows in quarantine, the newest first."""
        request = quality_service_pb2.ListQuarantinedRowsRequest(**filters)
        return (await self.quality.ListQuarantinedRows(request, metadata=ADMIN)).rows

    async def replay(self, *row_ids: int) -> quality_service_pb2.ReplayQuarantinedRowsResponse:
        request = quality_service_pb2.ReplayQuarantinedRowsRequest(row_ids=row_ids)
        return await self.quality.ReplayQuarantinedRows(request, metadata=ADMIN)

    async def send(self, *batches: pb.IngestTradesRequest) -> list[pb.IngestTradesResponse]:
        """All that is answered to ``batches``, after which the producer ends the stream."""

        async def requests() -> AsyncIterator[pb.IngestTradesRequest]:
            for batch in batches:
                yield batch

        return [response async for response in self.ingest.IngestTrades(requests(), metadata=ADMIN)]


@pytest.fixture
async def desk(database_url: Callable[[str], str], redis_url: str, certificates: Path) -> AsyncIterator[Desk]:
    async with (
        open_database(SecretStr(database_url("marketdata"))) as engine,
        open_journal(SecretStr(redis_url)) as journal,
    ):
        gate = Gate(PostgresTrades(engine))
        catalog = Catalog()
        catalog.add([a_symbol(), a_symbol("ETH-USDT@desk", state=SymbolState.INACTIVE), a_symbol("BTC-USDT@other")])
        store = PostgresQuarantine(engine)
        recorder = QuarantineRecorder(store, QuarantineMetrics(), timedelta(days=30), utc_now)
        publisher = LinePublisher(trade_lines(gate.store), journal, PostgresLines(engine))
        write = TradeWriter(gate, publisher)
        ingest = IngestTrades(catalog, {"desk": IngestSettings(name="desk")}, write, recorder, KEPT, lambda: NOW)

        async def source_now(_name: str) -> datetime:
            return NOW

        replay = ReplayQuarantinedRows(store, catalog, write, PostgresCandles(engine), KEPT, source_now, lambda: NOW)
        reports = QualityReports(
            MeasureQuality(catalog, PostgresQuality(engine, PostgresGaps(engine)), utc_now), utc_now
        )
        repairs = RepairParts(engine, catalog, PostgresCandles(engine), write, lambda _: None, utc_now).servicer({})
        sources = ListSources({}, PostgresSourceStates(engine), catalog)
        quality = DataQualityServicer(sources, ListQuarantinedRows(store), replay, reports, repairs)
        services = {INGEST: IngestServicer(ingest), QUALITY: quality}
        async with serving(services, certificates, workload="marketdata") as served:
            yield Desk(
                engine,
                catalog,
                gate,
                served,
                pb_grpc.IngestServiceStub(served.channel(INGEST)),
                quality_service_pb2_grpc.DataQualityServiceStub(served.channel(QUALITY)),
            )


async def test_the_first_answer_is_a_heartbeat_and_everything_is_acknowledged_once_it_is_stored(desk: Desk) -> None:
    first, *rest = await desk.send(a_batch(3, a_trade(1), a_trade(2)), a_batch(7, a_trade(3), a_trade(3)))
    assert first.HasField("heartbeat")
    acknowledgements = [response.acknowledgement for response in rest]
    assert acknowledgements[-1].sequence == 7
    assert (sum(each.stored for each in acknowledgements), sum(each.known for each in acknowledgements)) == (3, 1)
    assert await desk.stored() == [("1", 1), ("2", 2), ("3", 3)]


async def test_rows_that_break_a_rule_go_to_quarantine_and_the_others_are_stored(desk: Desk) -> None:
    nameless = a_trade(12)
    nameless.trade_id = ""
    crooked = a_trade(13)
    crooked.price.value = "12,5"
    wrong = [
        a_trade(2, price="-1"),
        a_trade(3, seconds=7200),
        a_trade(4, seconds=-8 * 86_400),
        a_trade(5, symbol="BTC-USDT@other"),
        a_trade(6, symbol="ETH-USDT@desk"),
        a_trade(7, symbol="nonsense"),
        a_trade(8, symbol="BTC-USDT@desk\0"),
        nameless,
        crooked,
    ]
    *_, last = await desk.send(a_batch(1, a_trade(1), *wrong, a_trade(20)))
    counts = {each.reason: each.rows for each in last.acknowledgement.quarantined}
    assert counts == {
        quality_pb2.QUARANTINE_REASON_PRICE: 1,
        quality_pb2.QUARANTINE_REASON_FUTURE: 1,
        quality_pb2.QUARANTINE_REASON_TOO_OLD: 1,
        quality_pb2.QUARANTINE_REASON_UNKNOWN_SYMBOL: 4,
        quality_pb2.QUARANTINE_REASON_MALFORMED: 2,
    }
    assert [trade_id for trade_id, _ in await desk.stored()] == ["1", "20"]
    rows = await desk.rows()
    assert len(rows) == len(wrong)
    assert '"12,5"' in rows[0].raw + rows[1].raw
    assert [row.row_id for row in rows] == sorted((row.row_id for row in rows), reverse=True)


async def test_another_trade_with_a_known_id_is_a_conflict(desk: Desk) -> None:
    await desk.send(a_batch(1, a_trade(1, price="100")))
    *_, last = await desk.send(a_batch(1, a_trade(1, price="101")))
    (count,) = last.acknowledgement.quarantined
    assert (count.reason, count.rows) == (quality_pb2.QUARANTINE_REASON_CONFLICT, 1)


async def test_a_connection_lost_in_the_middle_loses_nothing_and_stores_nothing_twice(desk: Desk) -> None:
    batches = [a_batch(number, *(a_trade(100 * number + each) for each in range(100))) for number in range(1, 31)]
    acknowledged = 0
    while acknowledged < len(batches):
        call: Any = desk.ingest.IngestTrades(metadata=ADMIN)
        for batch in batches[acknowledged:]:
            await call.write(batch)
        if acknowledged == 0:
            # The connection is lost after the first acknowledgement.
            while (response := await call.read()).HasField("heartbeat"):
                pass
            acknowledged = response.acknowledgement.sequence
            call.cancel()
            continue
        await call.done_writing()
        async for response in call:
            acknowledged = max(acknowledged, response.acknowledgement.sequence)
    expected = [(str(100 * number + each)) for number in range(1, 31) for each in range(100)]
    stored = await desk.stored()
    assert sorted(trade_id for trade_id, _ in stored) == sorted(expected)
    assert [sequence for _, sequence in stored] == list(range(1, len(expected) + 1))


async def test_a_store_that_is_away_for_a_while_delays_the_acknowledgement_only(desk: Desk) -> None:
    desk.gate.failures = 2
    *_, last = await desk.send(a_batch(1, a_trade(1), a_trade(2)))
    assert (last.acknowledgement.sequence, last.acknowledgement.stored) == (1, 2)


async def test_a_sequence_that_does_not_grow_ends_the_stream_after_what_came_before_is_stored(desk: Desk) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await desk.send(a_batch(5, a_trade(1)), a_batch(5, a_trade(2)))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(refused.value).reason == "ERROR_REASON_INGEST_SEQUENCE_INVALID"
    assert [trade_id for trade_id, _ in await desk.stored()] == ["1"]


async def test_only_admins_may_feed_the_mesh(desk: Desk) -> None:
    call = desk.ingest.IngestTrades(metadata=bearing(a_token("ROLE_TRADER")))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_rows_are_listed_by_pages_and_filtered(desk: Desk) -> None:
    await desk.send(a_batch(1, *(a_trade(number, price="-1") for number in range(1, 6))))
    await desk.send(a_batch(1, a_trade(9, symbol="NEW-USDT@desk")))
    listed: list[int] = []
    request = quality_service_pb2.ListQuarantinedRowsRequest(symbol=BTC, page_size=2)
    while True:
        page = await desk.quality.ListQuarantinedRows(request, metadata=ADMIN)
        listed += [row.row_id for row in page.rows]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert len(listed) == 5
    assert listed == sorted(listed, reverse=True)
    (unknown,) = await desk.rows(reason=quality_pb2.QUARANTINE_REASON_UNKNOWN_SYMBOL)
    assert (unknown.source, unknown.symbol) == ("desk", "NEW-USDT@desk")
    assert not await desk.rows(source="elsewhere")


async def test_a_row_is_taken_in_once_its_symbol_is_known(desk: Desk) -> None:
    new = "NEW-USDT@desk"
    await desk.send(a_batch(1, a_trade(1, symbol=new), a_trade(2, price="-1")))
    rows = {row.symbol: row.row_id for row in await desk.rows()}

    refused = await desk.replay(rows[new], rows[BTC], 999_999)
    assert not refused.taken_in
    assert {row.reason for row in refused.refused} == {
        quality_pb2.QUARANTINE_REASON_UNKNOWN_SYMBOL,
        quality_pb2.QUARANTINE_REASON_PRICE,
    }
    assert refused.not_found == [999_999]

    desk.catalog.add([a_symbol(new)])
    for _ in range(2):
        taken = await desk.replay(rows[new])
        assert [*taken.taken_in] == [rows[new]]
        assert not taken.refused
    assert await desk.stored() == [("1", 1)]
    assert [row.symbol for row in await desk.rows()] == [BTC]
    (replayed,) = await desk.rows(symbol=new, include_replayed=True)
    assert timestamps.from_pb(replayed.replay_time) == NOW


async def test_the_same_wrong_row_is_kept_once(desk: Desk) -> None:
    for _ in range(3):
        await desk.send(a_batch(1, a_trade(2, price="-1")))
    assert len(await desk.rows()) == 1
