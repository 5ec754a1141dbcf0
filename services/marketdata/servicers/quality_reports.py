"""The reports of DataQualityService."""

import asyncio
from datetime import datetime

from google.api.httpbody_pb2 import HttpBody

from levimesh.marketdata.v1 import quality_service_pb2 as pb
from services.marketdata.adapters.quality_drawing import draw
from services.marketdata.converters.quality_reports import report_to_pb
from services.marketdata.use_cases.quality_report import MeasureQuality
from services.runtime import timestamps
from services.runtime.clock import Clock


class QualityReports:
    """Answers how good stored data is: wire in, wire out."""

    def __init__(self, measure: MeasureQuality, now: Clock) -> None:
        self._measure = measure
        self._now = now
        self._drawing = asyncio.Lock()
        """One page is drawn at a time, whoever asks for however many."""

    async def report(self, request: pb.GetQualityReportRequest) -> pb.GetQualityReportResponse:
        """See GetQualityReport."""
        quality = await self._measure(request.symbol, *_bounds(request))
        return pb.GetQualityReportResponse(report=report_to_pb(quality))

    async def page(self, request: pb.RenderQualityReportRequest) -> pb.RenderQualityReportResponse:
        """See RenderQualityReport."""
        qualities = await self._measure.of_all(request.symbol, *_bounds(request))
        async with self._drawing:
            html = await draw(qualities, self._now())
        page = HttpBody(content_type="text/html; charset=utf-8", data=html.encode())
        return pb.RenderQualityReportResponse(page=page)


def _bounds(
    request: pb.GetQualityReportRequest | pb.RenderQualityReportRequest,
) -> tuple[datetime | None, datetime | None]:
    return (
        timestamps.from_pb(request.start_time) if request.HasField("start_time") else None,
        timestamps.from_pb(request.end_time) if request.HasField("end_time") else None,
    )
