"""Decimals, times, page tokens and redaction."""

import logging
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from google.type import decimal_pb2
from hypothesis import given
from hypothesis import strategies as st

from levimesh.trading.v1 import trading_service_pb2 as pb
from services.runtime import decimals, timestamps
from services.runtime.errors import PageTokenInvalid
from services.runtime.logging import configure, redact
from services.runtime.pagination import decode_page_token, encode_page_token


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_survives_the_wire_in_plain_digits(value: Decimal) -> None:
    wire = decimals.to_pb(value)
    assert "E" not in wire.value
    assert decimals.from_pb(wire) == value


def test_trailing_zeros_are_kept() -> None:
    assert decimals.to_pb(Decimal("1.500")) == decimal_pb2.Decimal(value="1.500")


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis adds the zone
def test_a_time_survives_the_wire(moment: datetime) -> None:
    assert timestamps.from_pb(timestamps.to_pb(moment)) == moment


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        timestamps.to_pb(datetime(2024, 1, 1))  # noqa: DTZ001 - that is the point


def test_a_page_token_leads_back_to_its_position_whatever_the_page_size() -> None:
    token = encode_page_token(["2024-01-01", "7"], pb.ListOrdersRequest(open_only=True, page_size=10))
    again = pb.ListOrdersRequest(open_only=True, page_size=20, page_token=token)
    assert decode_page_token(token, again) == ["2024-01-01", "7"]


@pytest.mark.parametrize("token", ["nonsense", "e30=", "WyJ4Il0=", "MQ==", "💥"])
def test_a_made_up_page_token_is_refused(token: str) -> None:
    with pytest.raises(PageTokenInvalid):
        decode_page_token(token, pb.ListOrdersRequest())


@pytest.mark.parametrize("part", ["a\0b", "\ud800"])
def test_a_page_token_with_what_no_text_in_the_database_has_is_refused(part: str) -> None:
    request = pb.ListOrdersRequest()
    with pytest.raises(PageTokenInvalid):
        decode_page_token(encode_page_token([part], request), request)


def test_a_page_token_of_other_filters_is_refused() -> None:
    token = encode_page_token(["1"], pb.ListOrdersRequest(open_only=True))
    with pytest.raises(PageTokenInvalid):
        decode_page_token(token, pb.ListOrdersRequest())
    with pytest.raises(PageTokenInvalid):
        decode_page_token(token, pb.ListFillsRequest())


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("postgresql://trading:hunter2@127.0.0.1/x", "postgresql://[redacted]@127.0.0.1/x"),
        ("authorization: Bearer abc.def.ghi", "authorization: Bearer [redacted]"),
        ('{"password": "hunter2", "user": "ada"}', '{"password": "[redacted]", "user": "ada"}'),
        ("token=eyJhbGciOi.eyJzdWIi.c2ln end", "token=[redacted] end"),
        ("AUTH_DATABASE_PASSWORD=hunter2 is set", "AUTH_DATABASE_PASSWORD=[redacted] is set"),
        ('{"message": "{\\"access_token\\": \\"opaque\\"}"}', '{"message": "{\\"access_token\\": \\"[redacted]\\"}"}'),
        ("authorization: Basic YTpi", "authorization: Basic [redacted]"),
        ("resume_token: 17-0, page_token=abc", "resume_token: 17-0, page_token=abc"),
        ("price: 12.5 for BTC-USDT@simex", "price: 12.5 for BTC-USDT@simex"),
    ],
)
def test_what_looks_like_a_credential_is_redacted(text: str, safe: str) -> None:
    assert redact(text) == safe


def test_a_log_line_is_json_without_secrets(capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure("trading")
        logging.getLogger("a.logger").warning("cannot reach redis://:hunter2@host", extra={"attempt": 3})
    finally:
        root.handlers[:], root.level = handlers, level
        logging.captureWarnings(capture=False)
    line = capfd.readouterr().err
    assert '"service": "trading"' in line
    assert '"attempt": 3' in line
    assert "hunter2" not in line
