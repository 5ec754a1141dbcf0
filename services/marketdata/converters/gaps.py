"""Gaps between protobuf and the domain."""

from levimesh.marketdata.v1 import quality_pb2, stream_pb2
from services.marketdata.converters.market import interval_to_pb
from services.marketdata.domain.gaps import Evidence, Gap, GapState
from services.marketdata.domain.market import Channel
from services.runtime import timestamps

_CHANNELS = {Channel.TRADES: stream_pb2.CHANNEL_TRADES, Channel.CANDLES: stream_pb2.CHANNEL_CANDLES}
_EVIDENCE = {
    Evidence.TRADE_ID: quality_pb2.GAP_EVIDENCE_TRADE_ID,
    Evidence.TIME: quality_pb2.GAP_EVIDENCE_TIME,
}
_STATES = {
    GapState.OPEN: quality_pb2.GAP_STATE_OPEN,
    GapState.REPAIRED: quality_pb2.GAP_STATE_REPAIRED,
    GapState.NOT_AT_SOURCE: quality_pb2.GAP_STATE_NOT_AT_SOURCE,
}
_STATES_FROM_PB = {value: state for state, value in _STATES.items()}


def gap_state_from_pb(value: quality_pb2.GapState.ValueType) -> GapState | None:
    """None where all are meant."""
    return _STATES_FROM_PB.get(value)


def gap_to_pb(gap: Gap) -> quality_pb2.DataGap:
    message = quality_pb2.DataGap(
        gap_id=str(gap.gap_id),
        symbol=gap.symbol,
        channel=_CHANNELS[gap.channel],
        start_time=timestamps.to_pb(gap.start_time),
        end_time=timestamps.to_pb(gap.end_time),
        first_trade_id=gap.first_trade_id,
        last_trade_id=gap.last_trade_id,
        evidence=_EVIDENCE[gap.evidence],
        state=_STATES[gap.state],
        repaired_rows=gap.repaired_rows,
        problem=gap.problem,
    )
    if gap.interval is not None:
        message.interval = interval_to_pb(gap.interval)
    if gap.detect_time is not None:
        message.detect_time.CopyFrom(timestamps.to_pb(gap.detect_time))
    if gap.close_time is not None:
        message.close_time.CopyFrom(timestamps.to_pb(gap.close_time))
    return message
