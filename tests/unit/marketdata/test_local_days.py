"""Daily bars of any time zone."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from services.marketdata.catalog import Catalog
from services.marketdata.domain.days import LocalDay
from services.marketdata.domain.market import Candle, Interval, Origin
from services.marketdata.use_cases.candles import MOST_DAYS, GetLocalDays, time_zone
from services.runtime.errors import FieldViolations
from tests.unit.marketdata.builders import BTC, a_symbol
from tests.unit.marketdata.keeping import MemoryCandles, MemoryTrades

ISTANBUL, NEW_YORK, HAVANA = map(ZoneInfo, ("Europe/Istanbul", "America/New_York", "America/Havana"))


def hour(open_time: datetime, price: int) -> Candle:
    """A candle of one hour that rises by one."""
    low = Decimal(price)
    return Candle(BTC, Interval.ONE_HOUR, open_time, low, low + 1, low, low + 1, Decimal(2), Origin.ROLL_UP)


def hours(start: datetime, count: int) -> list[Candle]:
    """So many hours that rise."""
    return [hour(start + timedelta(hours=index), 100 + index) for index in range(count)]


def test_a_day_begins_at_the_midnight_of_its_zone() -> None:
    day = LocalDay.containing(datetime(2024, 3, 5, 22, tzinfo=UTC), ISTANBUL)

    assert (day.open_time, day.close_time) == (
        datetime(2024, 3, 5, 21, tzinfo=UTC),
        datetime(2024, 3, 6, 21, tzinfo=UTC),
    )


def test_its_candle_is_the_sum_of_its_hours_only() -> None:
    day = LocalDay.containing(datetime(2024, 3, 5, 22, tzinfo=UTC), ISTANBUL)

    candle = day.candle(hours(datetime(2024, 3, 5, 19, tzinfo=UTC), 30))

    assert candle is not None
    prices = [candle.open, candle.high, candle.low, candle.close]
    assert prices == [Decimal(102), Decimal(126), Decimal(102), Decimal(126)]
    assert candle.volume == 48
    assert candle.open_time == day.open_time


@pytest.mark.parametrize(("when", "length"), [(date(2024, 3, 10), 23), (date(2024, 11, 3), 25), (date(2024, 7, 1), 24)])
def test_a_day_on_which_the_clocks_change_has_more_or_fewer_hours(when: date, length: int) -> None:
    day = LocalDay.of(when, NEW_YORK)

    assert day.close_time - day.open_time == timedelta(hours=length)
    assert day.candle(hours(day.open_time, length)) is not None
    assert day.candle(hours(day.open_time, length - 1)) is None


def test_a_day_without_midnight_begins_with_its_first_moment() -> None:
    # In Havana the clocks went from 0:00 to 1:00 on this day.
    day = LocalDay.of(date(2024, 3, 10), HAVANA)

    assert day.open_time == datetime(2024, 3, 10, 5, tzinfo=UTC)
    assert day.next(HAVANA).open_time == day.close_time == datetime(2024, 3, 11, 4, tzinfo=UTC)


def test_hours_do_not_fit_into_a_zone_that_is_off_by_half_an_hour() -> None:
    assert not LocalDay.of(date(2024, 3, 10), ZoneInfo("Asia/Kolkata")).is_made_of_hours
    assert LocalDay.of(date(2024, 3, 10), ISTANBUL).is_made_of_hours


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", "/etc/localtime", "Europe", "a" * 64, "\0"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(FieldViolations, match="time_zone"):
        time_zone(name)


async def all_days(stored: list[Candle], size: int) -> list[list[date]]:
    """The days of New York of what is stored, page by page."""
    store, catalog = MemoryCandles(MemoryTrades()), Catalog()
    store.stored[Interval.ONE_HOUR] = {candle.open_time: candle for candle in stored}
    catalog.add([a_symbol()])
    get_days, pages = GetLocalDays(catalog, store), []
    start: datetime | None = stored[0].open_time
    while start is not None:
        page = await get_days(BTC, NEW_YORK, start, None, size)
        pages.append([day.open_time.astimezone(NEW_YORK).date() for day, _ in page.days])
        start = page.next_start
    return pages


async def test_days_behind_days_without_candles_are_on_the_next_page() -> None:
    begin = datetime(2024, 7, 1, 4, tzinfo=UTC)

    pages = await all_days(hours(begin, 48) + hours(begin + timedelta(days=10), 48), 1)

    assert [day for page in pages for day in page] == [date(2024, 7, day) for day in (1, 2, 11, 12)]


async def test_a_page_has_so_many_days_at_most() -> None:
    pages = await all_days(hours(datetime(2020, 7, 1, 4, tzinfo=UTC), 24 * 900), 10_000)

    assert [len(page) for page in pages] == [MOST_DAYS, MOST_DAYS, 99]
