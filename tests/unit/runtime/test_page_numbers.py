"""Page tokens whose position is a number."""

import pytest

from levimesh.auth.v1 import audit_service_pb2 as pb
from services.runtime.errors import PageTokenInvalid
from services.runtime.pagination import decode_number, encode_page_token

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
