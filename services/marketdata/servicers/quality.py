"""DataQualityService: wire in, wire out."""

from typing import Any

import grpc

from levimesh.marketdata.v1 import quality_service_pb2 as pb
from levimesh.marketdata.v1 import quality_service_pb2_grpc as pb_grpc
from services.marketdata.converters import quarantine as convert_rows
from services.marketdata.converters.sources import source_to_pb
from services.marketdata.servicers.quality_reports import QualityReports
from services.marketdata.servicers.repairs import Repairs
from services.marketdata.use_cases.quarantine import ListQuarantinedRows, ReplayQuarantinedRows
from services.marketdata.use_cases.sources import ListSources
from services.runtime.pagination import decode_number, encode_page_token

_DEFAULT_PAGE_SIZE = 100

Context = grpc.aio.ServicerContext[Any, Any]


class DataQualityServicer(pb_grpc.DataQualityServiceServicer):
    """See the contract."""

    def __init__(
        self,
        list_sources: ListSources,
        list_rows: ListQuarantinedRows,
        replay_rows: ReplayQuarantinedRows,
        reports: QualityReports,
        repairs: Repairs,
    ) -> None:
        self._list_sources = list_sources
        self._list_rows = list_rows
        self._replay_rows = replay_rows
        self._reports = reports
        self._repairs = repairs

    async def ListSources(self, request: pb.ListSourcesRequest, context: Context) -> pb.ListSourcesResponse:
        return pb.ListSourcesResponse(sources=map(source_to_pb, await self._list_sources()))

    async def ListGaps(self, request: pb.ListGapsRequest, context: Context) -> pb.ListGapsResponse:
        return await self._repairs.list_gaps(request)

    async def CreateBackfillJob(
        self, request: pb.CreateBackfillJobRequest, context: Context
    ) -> pb.CreateBackfillJobResponse:
        return await self._repairs.create_job(request)

    async def GetBackfillJob(self, request: pb.GetBackfillJobRequest, context: Context) -> pb.GetBackfillJobResponse:
        return await self._repairs.get_job(request)

    async def ListBackfillJobs(
        self, request: pb.ListBackfillJobsRequest, context: Context
    ) -> pb.ListBackfillJobsResponse:
        return await self._repairs.list_jobs(request)

    async def CancelBackfillJob(
        self, request: pb.CancelBackfillJobRequest, context: Context
    ) -> pb.CancelBackfillJobResponse:
        return await self._repairs.cancel_job(request)

    async def ListQuarantinedRows(
        self, request: pb.ListQuarantinedRowsRequest, context: Context
    ) -> pb.ListQuarantinedRowsResponse:
        before = decode_number(request.page_token, request)
        size = request.page_size or _DEFAULT_PAGE_SIZE
        rows, next_before = await self._list_rows(convert_rows.wanted_from_pb(request), before, size)
        token = "" if next_before is None else encode_page_token([str(next_before)], request)
        return pb.ListQuarantinedRowsResponse(rows=map(convert_rows.row_to_pb, rows), next_page_token=token)

    async def ReplayQuarantinedRows(
        self, request: pb.ReplayQuarantinedRowsRequest, context: Context
    ) -> pb.ReplayQuarantinedRowsResponse:
        return convert_rows.replayed_to_pb(await self._replay_rows(request.row_ids))

    async def VerifyCandles(self, request: pb.VerifyCandlesRequest, context: Context) -> pb.VerifyCandlesResponse:
        return await self._repairs.verify(request)

    async def GetQualityReport(
        self, request: pb.GetQualityReportRequest, context: Context
    ) -> pb.GetQualityReportResponse:
        return await self._reports.report(request)

    async def RenderQualityReport(
        self, request: pb.RenderQualityReportRequest, context: Context
    ) -> pb.RenderQualityReportResponse:
        return await self._reports.page(request)
