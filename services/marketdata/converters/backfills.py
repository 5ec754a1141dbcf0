"""Backfills and comparisons of candles between protobuf and the domain."""

import uuid
from datetime import datetime

from levimesh.marketdata.v1 import quality_pb2, stream_pb2
from levimesh.marketdata.v1 import quality_service_pb2 as pb
from services.marketdata.converters.gaps import gap_state_from_pb
from services.marketdata.converters.market import candle_to_pb, interval_from_pb, interval_to_pb
from services.marketdata.domain.backfill import BackfillJob, BackfillState
from services.marketdata.domain.market import Channel, Interval
from services.marketdata.domain.verification import Comparison
from services.marketdata.ports.gaps import GapFilter
from services.runtime import timestamps

_CHANNELS = {Channel.TRADES: stream_pb2.CHANNEL_TRADES, Channel.CANDLES: stream_pb2.CHANNEL_CANDLES}
_CHANNELS_FROM_PB = {value: channel for channel, value in _CHANNELS.items()}
_STATES = {
    BackfillState.WAITING: quality_pb2.BACKFILL_STATE_WAITING,
    BackfillState.RUNNING: quality_pb2.BACKFILL_STATE_RUNNING,
    BackfillState.DONE: quality_pb2.BACKFILL_STATE_DONE,
    BackfillState.FAILED: quality_pb2.BACKFILL_STATE_FAILED,
    BackfillState.CANCELLED: quality_pb2.BACKFILL_STATE_CANCELLED,
}
_STATES_FROM_PB = {value: state for state, value in _STATES.items()}

NewJob = tuple[uuid.UUID, str, Channel, Interval | None, datetime, datetime | None]


def gap_filter_from_pb(request: pb.ListGapsRequest) -> GapFilter:
    return GapFilter(
        request.symbol,
        gap_state_from_pb(request.state),
        timestamps.from_pb(request.start_time) if request.HasField("start_time") else None,
        timestamps.from_pb(request.end_time) if request.HasField("end_time") else None,
    )


def new_job_from_pb(request: pb.CreateBackfillJobRequest) -> NewJob:
    return (
        uuid.UUID(request.backfill_job_id),
        request.symbol,
        _CHANNELS_FROM_PB[request.channel],
        interval_from_pb(request.interval) if request.interval else None,
        timestamps.from_pb(request.start_time),
        timestamps.from_pb(request.end_time) if request.HasField("end_time") else None,
    )


def job_state_from_pb(value: quality_pb2.BackfillState.ValueType) -> BackfillState | None:
    """None where all are meant."""
    return _STATES_FROM_PB.get(value)


def job_to_pb(job: BackfillJob) -> quality_pb2.BackfillJob:
    message = quality_pb2.BackfillJob(
        backfill_job_id=str(job.job_id),
        symbol=job.symbol,
        channel=_CHANNELS[job.channel],
        start_time=timestamps.to_pb(job.start_time),
        end_time=None if job.end_time is None else timestamps.to_pb(job.end_time),
        state=_STATES[job.state],
        position=timestamps.to_pb(job.position),
        fetched_rows=job.fetched_rows,
        new_rows=job.new_rows,
        create_time=timestamps.to_pb(job.create_time),
        complete_time=None if job.complete_time is None else timestamps.to_pb(job.complete_time),
        problem=job.problem,
    )
    if job.interval is not None:
        message.interval = interval_to_pb(job.interval)
    return message


def comparison_to_pb(comparison: Comparison) -> pb.VerifyCandlesResponse:
    return pb.VerifyCandlesResponse(
        compared=comparison.compared,
        equal=comparison.equal,
        differences=[
            quality_pb2.CandleDifference(
                ours=None if difference.ours is None else candle_to_pb(difference.ours),
                theirs=None if difference.theirs is None else candle_to_pb(difference.theirs),
                fields=difference.fields,
            )
            for difference in comparison.differences
        ],
    )
