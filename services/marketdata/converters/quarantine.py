"""Rows in quarantine, between protobuf and the domain."""

from levimesh.marketdata.v1 import quality_pb2, stream_pb2
from levimesh.marketdata.v1 import quality_service_pb2 as pb
from services.marketdata.domain.market import Channel
from services.marketdata.domain.quarantine import Reason
from services.marketdata.ports.quarantine import Kept, Wanted
from services.marketdata.use_cases.quarantine import Replayed
from services.runtime import timestamps

_REASONS = {
    Reason.MALFORMED: quality_pb2.QUARANTINE_REASON_MALFORMED,
    Reason.PRICE: quality_pb2.QUARANTINE_REASON_PRICE,
    Reason.QUANTITY: quality_pb2.QUARANTINE_REASON_QUANTITY,
    Reason.FUTURE: quality_pb2.QUARANTINE_REASON_FUTURE,
    Reason.TOO_OLD: quality_pb2.QUARANTINE_REASON_TOO_OLD,
    Reason.CANDLE_RANGE: quality_pb2.QUARANTINE_REASON_CANDLE_RANGE,
    Reason.UNKNOWN_SYMBOL: quality_pb2.QUARANTINE_REASON_UNKNOWN_SYMBOL,
    Reason.OUT_OF_ORDER: quality_pb2.QUARANTINE_REASON_OUT_OF_ORDER,
    Reason.CONFLICT: quality_pb2.QUARANTINE_REASON_CONFLICT,
    Reason.PRECISION: quality_pb2.QUARANTINE_REASON_PRECISION,
}
_REASONS_FROM_PB = {value: reason for reason, value in _REASONS.items()}
_CHANNELS = {
    Channel.TRADES: stream_pb2.CHANNEL_TRADES,
    Channel.CANDLES: stream_pb2.CHANNEL_CANDLES,
    Channel.BOOKS: stream_pb2.CHANNEL_BOOKS,
    Channel.TICKERS: stream_pb2.CHANNEL_TICKERS,
    Channel.INDICATORS: stream_pb2.CHANNEL_INDICATORS,
}


def reason_to_pb(reason: Reason) -> "quality_pb2.QuarantineReason.ValueType":
    return _REASONS[reason]


def wanted_from_pb(request: pb.ListQuarantinedRowsRequest) -> Wanted:
    return Wanted(request.source, request.symbol, _REASONS_FROM_PB.get(request.reason), request.include_replayed)


def row_to_pb(kept: Kept) -> quality_pb2.QuarantinedRow:
    refused = kept.refused
    return quality_pb2.QuarantinedRow(
        row_id=kept.row_id,
        source=refused.source,
        symbol=refused.symbol,
        channel=_CHANNELS[refused.channel],
        reason=_REASONS[refused.reason],
        detail=refused.detail,
        raw=refused.raw,
        receive_time=timestamps.to_pb(refused.receive_time),
        replay_time=None if kept.replay_time is None else timestamps.to_pb(kept.replay_time),
    )


def replayed_to_pb(replayed: Replayed) -> pb.ReplayQuarantinedRowsResponse:
    return pb.ReplayQuarantinedRowsResponse(
        taken_in=replayed.taken_in, refused=map(row_to_pb, replayed.refused), not_found=replayed.not_found
    )
