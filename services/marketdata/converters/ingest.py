"""What producers send, between protobuf and the domain."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from google.protobuf import json_format
from google.type import decimal_pb2

from levimesh.marketdata.v1 import ingest_service_pb2 as pb
from levimesh.marketdata.v1 import quality_pb2, trade_pb2
from services.marketdata.converters.quarantine import reason_to_pb
from services.marketdata.domain.market import TakerSide, Trade, exact
from services.marketdata.domain.quarantine import Reason
from services.marketdata.feeding.ingestion import Acknowledged, Batch
from services.marketdata.use_cases.ingest import Offered
from services.runtime import streaming, timestamps

_SIDES = {
    trade_pb2.TAKER_SIDE_UNSPECIFIED: TakerSide.UNKNOWN,
    trade_pb2.TAKER_SIDE_BUY: TakerSide.BUY,
    trade_pb2.TAKER_SIDE_SELL: TakerSide.SELL,
}
_LONGEST_ID = 64


def batch_from_pb(request: pb.IngestTradesRequest) -> Batch:
    return Batch(request.sequence, [_offered(trade) for trade in request.trades])


def response_to_pb(event: Acknowledged | None) -> pb.IngestTradesResponse:
    """An acknowledgement; a heartbeat where there is none."""
    if event is None:
        return pb.IngestTradesResponse(heartbeat=streaming.heartbeat())
    return pb.IngestTradesResponse(
        acknowledgement=pb.IngestAcknowledgement(
            sequence=event.sequence,
            stored=event.stored,
            known=event.known,
            quarantined=counts_to_pb(event.quarantined),
        )
    )


def counts_to_pb(counts: Mapping[Reason, int]) -> list[quality_pb2.QuarantineCount]:
    """How many rows broke which rule, in the order of the rules."""
    reasons = [reason for reason in Reason if counts.get(reason)]
    return [quality_pb2.QuarantineCount(reason=reason_to_pb(reason), rows=counts[reason]) for reason in reasons]


def _offered(trade: trade_pb2.Trade) -> Offered:
    def raw() -> str:
        return json_format.MessageToJson(trade, preserving_proto_field_name=True, indent=None)

    return Offered(trade.symbol, raw, lambda received: _trade(trade, received))


def _trade(message: trade_pb2.Trade, received: datetime) -> Trade:
    if not 0 < len(message.trade_id) <= _LONGEST_ID or not message.trade_id.isprintable():
        raise ValueError(f"trade_id has to have 1 to {_LONGEST_ID} printable characters")
    if not message.HasField("trade_time"):
        raise ValueError("it has no trade_time")
    if message.taker_side not in _SIDES:
        raise ValueError(f"there is no taker_side {message.taker_side}")
    return Trade(
        message.symbol,
        message.trade_id,
        _number("price", message.price),
        _number("quantity", message.quantity),
        _SIDES[message.taker_side],
        timestamps.from_pb(message.trade_time),
        received,
    )


def _number(name: str, message: decimal_pb2.Decimal) -> Decimal:
    try:
        return exact(Decimal(message.value))
    except ArithmeticError as error:
        raise ValueError(f"{name} {message.value[:50]!r} is no number") from error
