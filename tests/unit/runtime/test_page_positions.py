"""Page tokens whose position is a number or a moment."""

from datetime import UTC, datetime

import pytest

from levimesh.auth.v1 import audit_service_pb2 as pb
from services.runtime.errors import PageTokenInvalid
from services.runtime.pagination import decode_number, decode_time, encode_page_token

ASKED = pb.ListAuditEventsRequest(actor="ann")


@pytest.mark.parametrize("number", [1, 42, 10**18 - 1])
def test_a_number_comes_back_as_it_was(number: int) -> None:
    assert decode_number(encode_page_token([str(number)], ASKED), ASKED) == number


def test_without_a_token_there_is_no_number() -> None:
    assert decode_number("", ASKED) is None


@pytest.mark.parametrize("position", [[], ["1", "2"], ["one"], ["0"], ["-1"], ["٣"], ["1\n"], ["9" * 19], ["9" * 5000]])
def test_what_was_made_up_is_refused(position: list[str]) -> None:
    with pytest.raises(PageTokenInvalid):
        decode_number(encode_page_token(position, ASKED), ASKED)


def test_a_moment_comes_back_as_it_was() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert decode_time(encode_page_token([moment.isoformat()], ASKED), ASKED) == moment


@pytest.mark.parametrize("position", [[], ["yesterday"], ["2026-01-02", "2026-01-03"], ["2026-01-02T03:04:05"]])
def test_a_moment_that_was_made_up_is_refused(position: list[str]) -> None:
    with pytest.raises(PageTokenInvalid):
        decode_time(encode_page_token(position, ASKED), ASKED)
