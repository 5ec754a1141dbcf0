"""Daily bars of any time zone."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from operator import attrgetter
from zoneinfo import ZoneInfo

from services.marketdata.domain.market import Candle, Interval, Origin, total

_open_time: Callable[[Candle], datetime] = attrgetter("open_time")

LONGEST_DAY = timedelta(hours=25)
"""The day on which summer time ends."""


@dataclass(frozen=True)
class LocalDay:
    """A day of a time zone, from midnight to midnight: 23 to 25 hours long."""

    open_time: datetime
    close_time: datetime

    @classmethod
    def containing(cls, moment: datetime, zone: ZoneInfo) -> "LocalDay":
        """The day that ``moment`` falls on."""
        return cls.of(moment.astimezone(zone).date(), zone)

    @classmethod
    def of(cls, day: date, zone: ZoneInfo) -> "LocalDay":
        """The day of this date."""
        return cls(_midnight(day, zone), _midnight(day + timedelta(days=1), zone))

    @property
    def is_made_of_hours(self) -> bool:
        """Whether hourly candles, which begin at full hours UTC, fit into it."""
        return all(moment.minute == moment.second == 0 for moment in (self.open_time, self.close_time))

    def candle(self, hours: Sequence[Candle]) -> Candle | None:
        """Its candle, out of hourly candles by time, all of the day that there are; None where one is missing."""
        begin, end = (bisect_left(hours, bound, key=_open_time) for bound in (self.open_time, self.close_time))
        mine = hours[begin:end]
        if len(mine) * Interval.ONE_HOUR.length != self.close_time - self.open_time:
            return None
        return Candle(
            mine[0].symbol,
            Interval.ONE_DAY,
            self.open_time,
            mine[0].open,
            max(hour.high for hour in mine),
            min(hour.low for hour in mine),
            mine[-1].close,
            total([hour.volume for hour in mine]),
            Origin.ROLL_UP,
        )

    def next(self, zone: ZoneInfo) -> "LocalDay":
        """The day after it."""
        return LocalDay.containing(self.close_time, zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """When the day begins; where summer time skips midnight, the first moment of the day."""
    # Through UTC and back: a time that does not exist becomes one that does.
    return datetime.combine(day, time(), zone).astimezone(UTC)
