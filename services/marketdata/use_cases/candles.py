"""Reading candles."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from services.marketdata.catalog import Catalog
from services.marketdata.domain.days import LONGEST_DAY, LocalDay
from services.marketdata.domain.market import Candle, Interval
from services.marketdata.ports.candles import CandleStore
from services.runtime.errors import FieldViolations

MOST_DAYS = 400
"""Days of a time zone in a page."""
_HOURS_OF_LONGEST_DAY = LONGEST_DAY // Interval.ONE_HOUR.length


@dataclass(frozen=True)
class CandlePage:
    """Some candles, by time, and the open time where the next page begins; None after the last."""

    candles: list[Candle]
    next_start: datetime | None


@dataclass(frozen=True)
class DayPage:
    """Some days, each with its candle, by time, and the open time where the next page begins; None after the last."""

    days: list[tuple[LocalDay, Candle]]
    next_start: datetime | None


class GetCandles:
    """Read stored candles by time, or the newest ones where no span of time is given."""

    def __init__(self, catalog: Catalog, store: CandleStore) -> None:
        self._catalog = catalog
        self._store = store

    async def __call__(
        self, symbol: str, interval: Interval, start: datetime | None, end: datetime | None, size: int
    ) -> CandlePage:
        self._catalog.require(symbol)
        if start is None and end is None:
            return CandlePage(await self._store.newest_candles(symbol, interval, size), None)
        candles = await self._store.candles(symbol, interval, start, end, size + 1)
        return CandlePage(candles[:size], candles[size].open_time if len(candles) > size else None)


class GetLocalDays:
    """Sum up the days of a time zone from stored hourly candles; a day of which one is missing is left out.

    A page has ``MOST_DAYS`` days at most, whatever is asked for: each is read as 24 candles.
    """

    def __init__(self, catalog: Catalog, store: CandleStore) -> None:
        self._catalog = catalog
        self._store = store

    async def __call__(
        self, symbol: str, zone: ZoneInfo, start: datetime | None, end: datetime | None, size: int
    ) -> DayPage:
        self._catalog.require(symbol)
        first = await self._store.candles(symbol, Interval.ONE_HOUR, None, None, 1)
        newest = await self._store.newest_candles(symbol, Interval.ONE_HOUR, 1)
        if not first or not newest:
            return DayPage([], None)
        end = min(end or newest[-1].close_time, newest[-1].close_time)
        begin = max(start or _newest_days(zone, end, size), first[0].open_time)
        if begin >= end:
            return DayPage([], None)
        size = min(size, MOST_DAYS)
        most = (size + 2) * _HOURS_OF_LONGEST_DAY
        hours = await self._store.candles(symbol, Interval.ONE_HOUR, begin, end + LONGEST_DAY, most)
        return _page(hours, zone, begin, end, size) if hours else DayPage([], None)


def time_zone(name: str) -> ZoneInfo:
    """The IANA time zone ``name``. Raises FieldViolations when there is none such."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        # Names with odd characters are not looked up at all, or are folders of the database.
        raise FieldViolations(
            {"time_zone": f"{name[:64]!r} is no IANA time zone; write one like Europe/Istanbul"}
        ) from error


def _newest_days(zone: ZoneInfo, end: datetime, size: int) -> datetime:
    """The midnight at which the newest ``size`` days that are over by ``end`` begin."""
    last = LocalDay.containing(end, zone)
    # From noon to noon, so that summer time makes no difference.
    return LocalDay.containing(last.open_time + timedelta(hours=12) - timedelta(days=size), zone).open_time


def _page(hours: list[Candle], zone: ZoneInfo, begin: datetime, end: datetime, size: int) -> DayPage:
    day = LocalDay.containing(begin, zone)
    if day.open_time < begin:
        day = day.next(zone)
    days: list[tuple[LocalDay, Candle]] = []
    while day.open_time < end:
        if not day.is_made_of_hours:
            raise FieldViolations(
                {"time_zone": f"{zone.key} differs from UTC by other than whole hours; choose another one"}
            )
        if len(days) == size:
            return DayPage(days, day.open_time)
        if (candle := day.candle(hours)) is not None:
            days.append((day, candle))
        elif day.close_time > hours[-1].close_time:
            break
        day = day.next(zone)
    return DayPage(days, None)
