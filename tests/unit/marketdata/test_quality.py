"""How good stored data is."""

from datetime import UTC, datetime, timedelta

import pytest

from services.marketdata.domain.market import Interval
from services.marketdata.domain.quality import Span

NOON = datetime(2024, 8, 9, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (NOON, NOON + timedelta(minutes=10), 2),
        (NOON + timedelta(seconds=1), NOON + timedelta(minutes=10), 1),
        (NOON, NOON + timedelta(minutes=9), 1),
        (NOON + timedelta(minutes=4), NOON + timedelta(minutes=9), 0),
        (NOON + timedelta(minutes=1), NOON + timedelta(minutes=2), 0),
    ],
)
def test_only_candles_that_lie_in_the_span_as_a_whole_are_expected(
    start: datetime, end: datetime, expected: int
) -> None:
    assert Span(start, end).expected(Interval.FIVE_MINUTES) == expected
