"""Long candles out of complete short ones."""

from collections.abc import Iterable

from services.marketdata.domain.market import Candle, Interval, Origin, total

PART = Interval.FIVE_MINUTES
"""What longer candles are summed up from."""
ROLLED_UP = (Interval.FIFTEEN_MINUTES, Interval.ONE_HOUR, Interval.FOUR_HOURS, Interval.ONE_DAY)


def roll_up(parts: Iterable[Candle], interval: Interval) -> list[Candle]:
    """The candles of ``interval`` of which all parts are there, by time; ``parts`` are of one symbol and interval."""
    groups: dict[int, list[Candle]] = {}
    for part in parts:
        groups.setdefault(int(part.open_time.timestamp()) // interval.value, []).append(part)
    return [
        _summed_up(sorted(group, key=lambda part: part.open_time), interval)
        for _, group in sorted(groups.items())
        if len(group) * group[0].interval.value == interval.value
    ]


def _summed_up(parts: list[Candle], interval: Interval) -> Candle:
    first, last = parts[0], parts[-1]
    return Candle(
        first.symbol,
        interval,
        first.open_time,
        first.open,
        max(part.high for part in parts),
        min(part.low for part in parts),
        last.close,
        total([part.volume for part in parts]),
        Origin.ROLL_UP,
    )
