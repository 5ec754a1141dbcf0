"""Files, rates and producers through the whole service, beside each other."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from levimesh.marketdata.v1 import ingest_service_pb2, ingest_service_pb2_grpc, source_pb2, trade_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import quality_service_pb2 as quality_pb
from levimesh.marketdata.v1 import quality_service_pb2_grpc as quality_grpc
from services.runtime import decimals, timestamps
from tests.marketdata import INTERVAL_1M, Running, World, a_world, until
from tests.mesh import a_token, bearing
from tests.unit.marketdata.test_rate_sources import ecb_zip, serving

NOON = datetime(2024, 3, 5, 12, tzinfo=UTC)
QUALITY = quality_pb.DESCRIPTOR.services_by_name["DataQualityService"]
INGEST = ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"]
ADMIN = bearing(a_token("ROLE_ADMIN"))


@pytest.fixture
def world(database_url: Callable[[str], str], redis_url: str, certificates: Path, tmp_path: Path) -> World:
    return a_world(database_url("marketdata"), redis_url, certificates, tmp_path)


async def becomes(service: Running, source: str, state: "source_pb2.SourceState.ValueType") -> source_pb2.Source:
    """Wait until a source is in this state."""
    stub = quality_grpc.DataQualityServiceStub(service.served.channel(QUALITY))
    found: list[source_pb2.Source] = []

    async def is_so() -> bool:
        listed = await stub.ListSources(quality_pb.ListSourcesRequest(), metadata=ADMIN)
        found[:] = [each for each in listed.sources if each.source == source and each.state == state]
        return bool(found)

    await until(is_so, 40)
    return found[0]


async def test_a_file_is_replayed_to_its_end_and_all_of_its_trades_are_stored(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "recorded"
    folder.mkdir()
    columns = {
        "ts": [int(NOON.timestamp() * 1000) + 50 * number for number in range(4_000)],
        "trade_id": list(range(4_000)),
        "price": [100.0 + number % 7 for number in range(4_000)],
        "qty": [0.5] * 4_000,
        "side": [1] * 4_000,
    }
    pq.write_table(pa.table(columns), folder / "binance_BTC-USDT_trades.parquet")
    sources = json.dumps([{"kind": "file", "name": "recorded", "path": str(folder), "settle_seconds": 0.2}])
    async with world.marketdata(sources=sources) as service:
        finished = await becomes(service, "recorded", source_pb2.SOURCE_STATE_FINISHED)
        assert finished.rows == 4_000
        symbol = "BTC-USDT@recorded"

        # The minute of the first trade may have begun before it; the last one is not over.
        start, end = NOON + timedelta(minutes=1), NOON + timedelta(minutes=3)

        async def has_candles() -> bool:
            return len(await service.candles(symbol, INTERVAL_1M, start, end)) == 2

        await until(has_candles)
        candles = await service.candles(symbol, INTERVAL_1M, start, end)
        assert [decimals.from_pb(candle.volume) for candle in candles] == [Decimal(600)] * 2


async def test_trades_of_a_producer_become_candles_and_prices(world: World) -> None:
    described = {"kind": "ingest", "name": "desk", "settle_seconds": 0.2, "symbols": [{"symbol": "BTC-USDT"}]}
    start = datetime.now(UTC) - timedelta(minutes=3)
    async with world.marketdata(sources=json.dumps([described])) as service:
        await becomes(service, "desk", source_pb2.SOURCE_STATE_LIVE)
        ingest = ingest_service_pb2_grpc.IngestServiceStub(service.served.channel(INGEST))
        trades = [
            trade_pb2.Trade(
                symbol="BTC-USDT@desk",
                trade_id=str(number),
                price=decimals.to_pb(Decimal(100 + number % 5)),
                quantity=decimals.to_pb(Decimal(1)),
                trade_time=timestamps.to_pb(start + timedelta(seconds=number)),
            )
            for number in range(1, 170)
        ]
        request = ingest_service_pb2.IngestTradesRequest(sequence=1, trades=trades)
        answers = [answer async for answer in ingest.IngestTrades(iter([request]), metadata=ADMIN)]
        assert answers[-1].acknowledgement.stored == len(trades)

        async def has_price() -> bool:
            asked = pb.BatchGetTickersRequest(symbols=["BTC-USDT@desk"])
            return bool((await service.stub.BatchGetTickers(asked, metadata=service.metadata)).tickers)

        await until(has_price)
        assert decimals.from_pb((await service.ticker("BTC-USDT@desk")).last_price) == Decimal(100 + 169 % 5)
        minute = (start + timedelta(minutes=1)).replace(second=0, microsecond=0)

        async def has_candle() -> bool:
            return bool(await service.candles("BTC-USDT@desk", INTERVAL_1M, minute, minute + timedelta(minutes=1)))

        await until(has_candle, 40)


async def test_rates_are_fetched_and_prices_converted_by_them(world: World) -> None:
    today = datetime.now(UTC).date()
    history = ecb_zip(f"Date,USD,JPY,\n{today},1.25,160,\n")
    async with (
        serving({"/eurofxref-hist.zip": history}) as url,
        world.marketdata(sources=json.dumps([{"kind": "ecb", "base_url": url}])) as service,
    ):
        await becomes(service, "ecb", source_pb2.SOURCE_STATE_LIVE)
        asked = pb.ConvertPriceRequest(
            amount=decimals.to_pb(Decimal(10)), from_currency="USD", to_currency="JPY", source="ecb"
        )
        answer = await service.stub.ConvertPrice(asked, metadata=service.metadata)
    assert decimals.from_pb(answer.amount) == Decimal(1280)
