"""Sources as messages."""

from levimesh.marketdata.v1 import source_pb2
from services.marketdata.converters.symbols import asset_type_to_pb
from services.marketdata.domain.market import SourceKind
from services.marketdata.domain.source_status import SourceState
from services.marketdata.use_cases.sources import ListedSource
from services.runtime import timestamps

_KINDS = {
    SourceKind.EXCHANGE: source_pb2.SOURCE_KIND_EXCHANGE,
    SourceKind.EQUITY: source_pb2.SOURCE_KIND_EQUITY,
    SourceKind.ECB: source_pb2.SOURCE_KIND_ECB,
    SourceKind.RATES: source_pb2.SOURCE_KIND_RATES,
    SourceKind.FILE: source_pb2.SOURCE_KIND_FILE,
    SourceKind.INGEST: source_pb2.SOURCE_KIND_INGEST,
}
_STATES = {
    SourceState.CONNECTING: source_pb2.SOURCE_STATE_CONNECTING,
    SourceState.LIVE: source_pb2.SOURCE_STATE_LIVE,
    SourceState.SILENT: source_pb2.SOURCE_STATE_SILENT,
    SourceState.DOWN: source_pb2.SOURCE_STATE_DOWN,
    SourceState.FINISHED: source_pb2.SOURCE_STATE_FINISHED,
}


def source_to_pb(source: ListedSource) -> source_pb2.Source:
    """``source`` as a message."""
    status = source.status
    message = source_pb2.Source(
        source=source.name,
        kind=_KINDS[source.kind],
        asset_type=asset_type_to_pb(source.asset_type),
        state=_STATES[status.state],
        problem=status.problem,
        leader=source.leader,
        symbols=source.symbols,
        rows=status.rows,
        quarantined=status.quarantined,
        reconnects=status.reconnects,
        circuit_open=status.circuit_open,
    )
    if status.last_message_time is not None:
        message.last_message_time.CopyFrom(timestamps.to_pb(status.last_message_time))
    if status.latency is not None:
        message.latency.FromTimedelta(status.latency)
    return message
