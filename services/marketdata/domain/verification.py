"""Whether candles are those of their source."""

from collections.abc import Iterable
from dataclasses import dataclass

from services.marketdata.domain.market import Candle

_FIELDS = ("open", "high", "low", "close", "volume")
MOST_DIFFERENCES = 1_000


@dataclass(frozen=True, slots=True)
class Difference:
    """A candle that is not the same here and at the source."""

    ours: Candle | None
    theirs: Candle | None
    fields: tuple[str, ...]
    """Which differ."""


@dataclass(frozen=True)
class Comparison:
    """How candles compare."""

    compared: int
    equal: int
    differences: list[Difference]
    """The first of them, by time."""


def compared(ours: Iterable[Candle], theirs: Iterable[Candle]) -> Comparison:
    """Compare candles of one series to the last digit."""
    here = {candle.open_time: candle for candle in ours}
    there = {candle.open_time: candle for candle in theirs}
    times = sorted(here.keys() | there.keys())
    differences = []
    for time in times:
        mine, other = here.get(time), there.get(time)
        if mine is None or other is None:
            differences.append(Difference(mine, other, ()))
        elif fields := tuple(name for name in _FIELDS if getattr(mine, name) != getattr(other, name)):
            differences.append(Difference(mine, other, fields))
    return Comparison(len(times), len(times) - len(differences), differences[:MOST_DIFFERENCES])
