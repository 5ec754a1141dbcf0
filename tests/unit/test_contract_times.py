"""The contracts bound the times that market data is asked for by, so that reckoning with them cannot overflow."""

import pytest
from google.protobuf.descriptor import FieldDescriptor

from buf.validate import validate_pb2
from gateway.contracts import SERVICES

TIMES = {
    field.full_name: field
    for service in SERVICES["marketdata"]
    for method in service.methods
    for field in method.input_type.fields
    if field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp"
}


@pytest.mark.parametrize("field", TIMES.values(), ids=TIMES)
def test_a_time_in_a_request_is_bounded(field: FieldDescriptor) -> None:
    rules = field.GetOptions().Extensions[validate_pb2.field].timestamp

    assert rules.HasField("gte")
    assert rules.HasField("lt")
