"""The gaps and backfills of DataQualityService."""

import uuid
from dataclasses import dataclass

from levimesh.marketdata.v1 import quality_service_pb2 as pb
from services.marketdata.converters import backfills as convert
from services.marketdata.converters.gaps import gap_to_pb
from services.marketdata.converters.market import interval_from_pb
from services.marketdata.use_cases.gaps import (
    CancelBackfillJob,
    CreateBackfillJob,
    GetBackfillJob,
    ListBackfillJobs,
    ListGaps,
)
from services.marketdata.use_cases.verification import VerifyCandles
from services.runtime import timestamps
from services.runtime.pagination import decode_number, encode_page_token

_DEFAULT_PAGE_SIZE = 100


@dataclass(frozen=True)
class Repairs:
    """Tells what is missing or wrong, and has it fetched: wire in, wire out."""

    list_gaps_of: ListGaps
    create: CreateBackfillJob
    get: GetBackfillJob
    list_jobs_of: ListBackfillJobs
    cancel: CancelBackfillJob
    verify_candles: VerifyCandles

    async def list_gaps(self, request: pb.ListGapsRequest) -> pb.ListGapsResponse:
        """See ListGaps."""
        before = decode_number(request.page_token, request)
        size = request.page_size or _DEFAULT_PAGE_SIZE
        page = await self.list_gaps_of(convert.gap_filter_from_pb(request), before, size)
        token = "" if page.next_before is None else encode_page_token([str(page.next_before)], request)
        return pb.ListGapsResponse(gaps=map(gap_to_pb, page.rows), next_page_token=token)

    async def create_job(self, request: pb.CreateBackfillJobRequest) -> pb.CreateBackfillJobResponse:
        """See CreateBackfillJob."""
        job = await self.create(*convert.new_job_from_pb(request))
        return pb.CreateBackfillJobResponse(backfill_job=convert.job_to_pb(job))

    async def get_job(self, request: pb.GetBackfillJobRequest) -> pb.GetBackfillJobResponse:
        """See GetBackfillJob."""
        job = await self.get(uuid.UUID(request.backfill_job_id))
        return pb.GetBackfillJobResponse(backfill_job=convert.job_to_pb(job))

    async def list_jobs(self, request: pb.ListBackfillJobsRequest) -> pb.ListBackfillJobsResponse:
        """See ListBackfillJobs."""
        before = decode_number(request.page_token, request)
        size = request.page_size or _DEFAULT_PAGE_SIZE
        page = await self.list_jobs_of(request.symbol, convert.job_state_from_pb(request.state), before, size)
        token = "" if page.next_before is None else encode_page_token([str(page.next_before)], request)
        return pb.ListBackfillJobsResponse(backfill_jobs=map(convert.job_to_pb, page.rows), next_page_token=token)

    async def cancel_job(self, request: pb.CancelBackfillJobRequest) -> pb.CancelBackfillJobResponse:
        """See CancelBackfillJob."""
        job = await self.cancel(uuid.UUID(request.backfill_job_id))
        return pb.CancelBackfillJobResponse(backfill_job=convert.job_to_pb(job))

    async def verify(self, request: pb.VerifyCandlesRequest) -> pb.VerifyCandlesResponse:
        """See VerifyCandles."""
        start, end = timestamps.from_pb(request.start_time), timestamps.from_pb(request.end_time)
        interval = interval_from_pb(request.interval)
        return convert.comparison_to_pb(await self.verify_candles(request.symbol, interval, start, end))
