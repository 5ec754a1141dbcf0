"""What is missing in the line of a symbol's trades, and what is known in spite of it."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from services.marketdata.domain.market import Channel, Interval, Trade
from services.marketdata.domain.sequence import Break, Step

_NAMESPACE = uuid.UUID("5c8b1d0e-6f0f-4f57-9d6c-3b5f9d1f7a10")
_MOST_HOLES = 100
"""Into how many holes a gap that could not be repaired is split at most."""
_TICK = timedelta(microseconds=1)


class Evidence(Enum):
    """How a gap was noticed."""

    TRADE_ID = "trade_id"
    TIME = "time"


class GapState(Enum):
    """What became of a gap."""

    OPEN = "open"
    REPAIRED = "repaired"
    NOT_AT_SOURCE = "not_at_source"


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of a symbol's data that did not arrive. What is missing happened from start to end, both included."""

    gap_id: uuid.UUID
    symbol: str
    channel: Channel
    start_time: datetime
    """The data before this time is there."""
    end_time: datetime
    """The data after this time is there."""
    evidence: Evidence
    interval: Interval | None = None
    first_trade_id: str = ""
    """Of trades with consecutive ids: the first that is missing."""
    last_trade_id: str = ""
    state: GapState = GapState.OPEN
    repaired_rows: int = 0
    detect_time: datetime | None = None
    close_time: datetime | None = None
    problem: str = ""

    @classmethod
    def between(cls, before: Trade, after: Trade) -> "Gap | None":
        """The gap between two trades, of which others may be missing; None when their ids prove that none is."""
        first, last = before.number, after.number
        if first is not None and last is not None and last > first:
            return cls.of_numbers(before, first + 1, last - 1, after.trade_time) if last > first + 1 else None
        start, end = before.trade_time, max(before.trade_time, after.trade_time)
        name = uuid.uuid5(_NAMESPACE, f"{before.symbol} {before.trade_id} {after.trade_id}")
        return cls(name, before.symbol, Channel.TRADES, start, end, Evidence.TIME)

    @classmethod
    def of_numbers(cls, before: Trade, first: int, last: int, end_time: datetime) -> "Gap":
        """The trades numbered ``first`` to ``last``, which came after ``before``."""
        name = uuid.uuid5(_NAMESPACE, f"{before.symbol} {first} {last} {before.trade_time.isoformat()}")
        end_time = max(end_time, before.trade_time)
        return cls(
            name,
            before.symbol,
            Channel.TRADES,
            before.trade_time,
            end_time,
            Evidence.TRADE_ID,
            first_trade_id=str(first),
            last_trade_id=str(last),
        )

    @property
    def numbers(self) -> tuple[int, int] | None:
        """The numbers of the first and the last trade that is missing; None where only the time tells."""
        return (int(self.first_trade_id), int(self.last_trade_id)) if self.evidence is Evidence.TRADE_ID else None

    def misses(self, trade: Trade) -> bool:
        """Whether ``trade`` is one of those that are missing."""
        numbers, number = self.numbers, trade.number
        if numbers is None or number is None:
            return self.start_time <= trade.trade_time <= self.end_time
        return numbers[0] <= number <= numbers[1]

    def is_before(self, trade: Trade) -> bool:
        """Whether ``trade`` comes after all that are missing."""
        numbers, number = self.numbers, trade.number
        if numbers is None or number is None:
            return trade.trade_time > self.end_time
        return number > numbers[1]

    @property
    def end_after(self) -> datetime:
        """The first time of which nothing is missing."""
        return self.end_time + _TICK

    def touches(self, start: datetime, end: datetime) -> bool:
        """Whether what is missing may have happened in [start, end)."""
        return self.start_time < end and self.end_time >= start

    def closed(self, found: "Found", new_rows: int, now: datetime) -> list["Gap"]:
        """This gap after the source gave all that it has of it, ``found``; then what remains of it, if anything."""
        whole = replace(self, repaired_rows=self.repaired_rows + new_rows, close_time=now, problem="")
        if self.numbers is None:
            # The trade before the gap is there again if the source still has trades that are as old.
            return [replace(whole, state=GapState.REPAIRED if found.reaches_back else GapState.NOT_AT_SOURCE)]
        rest = found.holes()
        if not found.runs or len(rest) > _MOST_HOLES:
            return [replace(whole, state=GapState.NOT_AT_SOURCE)]
        lost = [replace(hole, state=GapState.NOT_AT_SOURCE, detect_time=now, close_time=now) for hole in rest]
        return [replace(whole, state=GapState.REPAIRED), *lost]


class Found:
    """What was found of a gap. Of trades whose numbers follow one another the first and the last are remembered."""

    def __init__(self, gap: Gap) -> None:
        self._gap = gap
        self.runs: list[tuple[Trade, Trade]] = []
        """First and last trade of each run of numbers, in order."""
        self.reaches_back = False
        """Whether a trade as old as the gap's beginning is among them."""
        self.reaches_end = False
        """Whether one of the very time at which the gap ends is."""

    def add(self, trades: Iterable[Trade]) -> None:
        """Take note of trades that were missing; they come behind those before."""
        for trade in trades:
            self.reaches_back = self.reaches_back or trade.trade_time == self._gap.start_time
            self.reaches_end = self.reaches_end or trade.trade_time == self._gap.end_time
            number, newest = trade.number, self.runs[-1][1].number if self.runs else None
            if number is None or (newest is not None and number <= newest):
                continue
            if newest is not None and number == newest + 1:
                self.runs[-1] = self.runs[-1][0], trade
            else:
                self.runs.append((trade, trade))

    @property
    def is_whole(self) -> bool:
        """Whether all that is missing was found: by its numbers, or because the trade that ends the gap is there."""
        return self.reaches_end if self._gap.numbers is None else bool(self.runs) and not self.holes()

    def holes(self) -> list[Gap]:
        """What of the numbers that are missing was not found."""
        numbers = self._gap.numbers
        if numbers is None or not self.runs:
            return []
        expected, last = numbers
        before = replace(self.runs[0][0], trade_time=self._gap.start_time)
        holes = []
        for first_found, last_found in self.runs:
            first, newest = first_found.number, last_found.number
            assert first is not None and newest is not None  # noqa: PT018, S101 - runs are of numbers
            if first > expected:
                holes.append(Gap.of_numbers(before, expected, first - 1, first_found.trade_time))
            before, expected = last_found, newest + 1
        if expected <= last:
            holes.append(Gap.of_numbers(before, expected, last, self._gap.end_time))
        return holes


class GapFinder:
    """Finds the gaps in the steps of a sequence."""

    def __init__(self, newest: Trade | None = None) -> None:
        self.newest = newest
        """The newest trade that was let through."""
        self.broken = False
        """Whether trades may be missing after it."""

    def add(self, steps: Iterable[Step]) -> list[Gap]:
        """The gaps that these steps show."""
        gaps = []
        for step in steps:
            if isinstance(step, Break):
                self.broken = True
                continue
            if self.broken and self.newest is not None and (gap := Gap.between(self.newest, step)) is not None:
                gaps.append(gap)
            self.newest, self.broken = step, False
        return gaps


class Coverage:
    """Of which intervals all trades are known to be stored."""

    def __init__(self, since: datetime | None = None, gaps: Iterable[Gap] = ()) -> None:
        self.since = since
        """All trades after this time are known, but for the gaps; None before the first."""
        self.until = since
        """Up to this time; a trade at this very time may still come."""
        self._gaps = {gap.gap_id: gap for gap in gaps if gap.state is not GapState.REPAIRED}

    def reach(self, trade: Trade) -> None:
        """All trades before ``trade``, which was let through, are known, but for the gaps."""
        if self.since is None:
            self.since = trade.trade_time
        self.until = trade.trade_time if self.until is None else max(self.until, trade.trade_time)

    def forget(self, before: datetime) -> None:
        """Trades before this time are kept no longer."""
        if self.since is None or self.since >= before:
            return
        self.since = before
        over = [gap for gap in self._gaps.values() if gap.end_time < before and gap.state is not GapState.OPEN]
        for gap in over:
            del self._gaps[gap.gap_id]

    def extend(self, since: datetime) -> None:
        """All trades after this earlier time are stored by now."""
        if self.since is None or since < self.since:
            self.since = since

    @property
    def open_gaps(self) -> list[Gap]:
        """The gaps that are to be repaired, by time."""
        opened = [gap for gap in self._gaps.values() if gap.state is GapState.OPEN]
        return sorted(opened, key=lambda gap: gap.start_time)

    def awaits(self, trade: Trade) -> bool:
        """Whether ``trade`` changes nothing yet: it is older than what is known, or in an open gap."""
        if self.since is None or trade.trade_time < self.since:
            return True
        return any(gap.touches(trade.trade_time, trade.trade_time + _TICK) for gap in self.open_gaps)

    def put(self, gap: Gap) -> None:
        """A gap has been found, or has changed."""
        self._gaps.pop(gap.gap_id, None)
        if gap.state is not GapState.REPAIRED:
            self._gaps[gap.gap_id] = gap

    def whole_until(self, start: datetime, end: datetime, interval: Interval) -> datetime:
        """When the first interval begins, from the one at ``start`` to ``end``, of which trades may be missing."""
        if self.since is None or self.until is None or start <= self.since:
            return start
        end = min(interval.floor(end), interval.floor(self.until))
        for gap in self._gaps.values():
            if gap.touches(start, max(end, start)):
                end = max(interval.floor(gap.start_time), start)
        return max(end, start)

    def is_newest(self, last: datetime, start: datetime) -> bool:
        """Whether the last stored trade before ``start``, of the time ``last``, is the last that there was."""
        if self.since is None or last < self.since:
            return False
        # What is missing came before the trade that ends a gap.
        return not any(gap.touches(last + _TICK, start) for gap in self._gaps.values())

    def whole_from(self, start: datetime, end: datetime, interval: Interval) -> datetime:
        """When the first interval from ``start`` on begins of which all trades are known; ``end`` if none does."""
        if self.since is None:
            return end
        if start <= self.since:
            start = interval.floor(self.since) + interval.length
        for gap in sorted(self._gaps.values(), key=lambda gap: gap.start_time):
            if gap.touches(start, start + interval.length):
                start = max(start, interval.floor(gap.end_time) + interval.length)
        return min(start, end)
