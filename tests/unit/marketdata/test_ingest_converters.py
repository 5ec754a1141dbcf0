"""What producers send, as trades."""

from decimal import Decimal

from google.type import decimal_pb2

from levimesh.marketdata.v1 import ingest_service_pb2 as pb
from levimesh.marketdata.v1 import trade_pb2
from services.marketdata.converters import ingest as convert
from services.runtime import timestamps
from tests.unit.marketdata.builders import BTC, NOON


def test_every_digit_of_a_number_is_kept() -> None:
    price, quantity = "123456789012345.123456789012345678", "1234567890123456789.123456789012345600"
    sent = trade_pb2.Trade(
        symbol=BTC,
        trade_id="1",
        price=decimal_pb2.Decimal(value=price),
        quantity=decimal_pb2.Decimal(value=quantity),
        trade_time=timestamps.to_pb(NOON),
    )

    (row,) = convert.batch_from_pb(pb.IngestTradesRequest(sequence=1, trades=[sent])).rows

    assert (row.read(NOON).price, row.read(NOON).quantity) == (Decimal(price), Decimal(quantity))
