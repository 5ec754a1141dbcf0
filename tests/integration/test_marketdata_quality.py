"""How good stored data is, told by RPC and as a page."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from levimesh.marketdata.v1 import candle_pb2
from levimesh.marketdata.v1 import quality_service_pb2 as pb
from levimesh.marketdata.v1 import quality_service_pb2_grpc as pb_grpc
from services.runtime import timestamps
from tests.marketdata import BTC, MARKET_TIME, Running, World, a_world

if TYPE_CHECKING:
    from levimesh.marketdata.v1.quality_service_pb2_grpc import DataQualityServiceAsyncStub

SERVICE = pb.DESCRIPTOR.services_by_name["DataQualityService"]
HOUR = timedelta(hours=1)


@pytest.fixture
def world(database_url: Callable[[str], str], redis_url: str, certificates: Path, tmp_path: Path) -> World:
    return a_world(database_url("marketdata"), redis_url, certificates, tmp_path)


def quality(service: Running) -> "DataQualityServiceAsyncStub":
    return pb_grpc.DataQualityServiceStub(service.served.channel(SERVICE))


async def test_a_whole_history_is_told_to_be_whole(world: World) -> None:
    start = MARKET_TIME.replace(minute=0, second=0) - 2 * HOUR
    request = pb.GetQualityReportRequest(
        symbol=BTC, start_time=timestamps.to_pb(start), end_time=timestamps.to_pb(start + HOUR)
    )
    async with world.exchange.running(), world.marketdata() as service:
        await service.has_history()

        report = (await quality(service).GetQualityReport(request, metadata=service.metadata)).report

    counts = {coverage.interval: (coverage.expected, coverage.stored) for coverage in report.coverage}
    assert counts[candle_pb2.INTERVAL_1M] == (60, 60)
    assert counts[candle_pb2.INTERVAL_5M] == (12, 12)
    assert counts[candle_pb2.INTERVAL_1H] == (1, 1)
    assert not report.gaps
    assert not report.quarantine


async def test_the_page_shows_every_active_symbol_without_scripts(world: World) -> None:
    async with world.exchange.running(), world.marketdata() as service:
        await service.has_history()

        answer = await quality(service).RenderQualityReport(pb.RenderQualityReportRequest(), metadata=service.metadata)

    html = answer.page.data.decode()
    assert answer.page.content_type == "text/html; charset=utf-8"
    assert "<h2>BTC-USDT@simex</h2>" in html
    assert "<h2>ETH-USDT@simex</h2>" in html
    assert "<svg" in html
    assert "<script" not in html


async def test_a_report_about_many_weeks_is_refused_with_what_to_do(world: World) -> None:
    request = pb.GetQualityReportRequest(symbol=BTC, start_time=timestamps.to_pb(MARKET_TIME - 40 * 24 * HOUR))
    async with world.exchange.running(), world.marketdata() as service:
        await service.has_history()

        with pytest.raises(grpc.aio.AioRpcError, match="31 days at most") as refused:
            await quality(service).GetQualityReport(request, metadata=service.metadata)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
