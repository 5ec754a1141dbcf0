"""The report on the quality of data, drawn in a process of its own."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.marketdata.adapters.quality_drawing import draw
from services.marketdata.domain.market import Interval
from services.marketdata.domain.quality import CandleCount, Latency, Quality, Slice, Span
from services.marketdata.domain.quarantine import Reason

NOON = datetime(2024, 8, 9, 12, tzinfo=UTC)
HOUR = Span(NOON, NOON + timedelta(hours=1))


def a_quality(symbol: str) -> Quality:
    """An hour of which 59 minutes are there."""
    times = [timedelta(milliseconds=each) for each in (5, 8, 20, 90)]
    part = Slice(NOON, 100, 59, times[0], times[2])
    counts = [CandleCount(Interval.ONE_MINUTE, 59, 50, 1)]
    return Quality(symbol, HOUR, counts, 100, Latency(*times), [part], [], {Reason.PRICE: 2})


async def test_the_page_tells_of_each_symbol_in_numbers_and_charts() -> None:
    page = await draw([a_quality("BTC-USDT@simex"), a_quality("<b>@simex")], NOON)

    assert page.startswith("<!doctype html>")
    assert page.count("98.33 %") == 2
    assert page.count("<figure>") == 8
    assert "<script" not in page
    assert "<b>@simex" not in page


async def test_a_page_that_cannot_be_drawn_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="ended with 1"):
        await draw([Decimal(1)], NOON)  # type: ignore[list-item] # what cannot be drawn
