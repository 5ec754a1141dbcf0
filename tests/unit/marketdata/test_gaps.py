"""What is missing is known by numbers or by time, and only whole intervals are believed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as some

from services.marketdata.domain.gaps import Coverage, Evidence, Found, Gap, GapFinder, GapState
from services.marketdata.domain.market import Interval, Trade
from services.marketdata.domain.sequence import Break, TradeSequence
from services.marketdata.domain.verification import compared
from tests.unit.marketdata.builders import MINUTE, a_candle, a_trade, at, quiet


def a_gap(first: int = 3, last: int = 5, start: float = 20, end: float = 100) -> Gap:
    """The gap between two trades."""
    gap = Gap.between(a_trade(first - 1, start), a_trade(last + 1, end))
    assert gap is not None
    return gap


def test_numbers_tell_exactly_which_trades_are_missing() -> None:
    finder = GapFinder()
    sequence = TradeSequence()
    assert finder.add(sequence.add([a_trade(1, 0), a_trade(2, 20), a_trade(6, 100)])) == []
    (gap,) = finder.add(sequence.expire(at(101)))
    assert (gap.numbers, gap.evidence, gap.start_time, gap.end_time) == ((3, 5), Evidence.TRADE_ID, at(20), at(100))
    assert gap == a_gap()
    assert gap.misses(a_trade(4, 50))
    assert not gap.misses(a_trade(6, 100))
    assert gap.is_before(a_trade(6, 100))


def test_consecutive_numbers_prove_that_a_lost_connection_missed_nothing() -> None:
    assert Gap.between(a_trade(1, 0), a_trade(2, 100)) is None
    assert GapFinder(a_trade(1, 0)).add([Break(), a_trade(2, 100)]) == []


def test_without_numbers_the_time_between_two_trades_is_the_gap() -> None:
    (gap,) = GapFinder(a_trade("a", 0)).add([Break(), a_trade("b", 100)])
    assert (gap.numbers, gap.evidence, gap.first_trade_id) == (None, Evidence.TIME, "")
    assert gap.misses(a_trade("c", 0))
    assert gap.misses(a_trade("c", 100))
    assert not gap.misses(a_trade("c", 100.001))


def test_a_source_that_counts_anew_leaves_a_gap_in_time() -> None:
    gap = Gap.between(a_trade(900, 0), a_trade(1, 100))
    assert gap is not None
    assert gap.evidence is Evidence.TIME


def test_a_gap_is_the_same_however_often_it_is_found() -> None:
    assert a_gap().gap_id == a_gap().gap_id
    assert a_gap().gap_id != a_gap(last=6).gap_id


def found_of(gap: Gap, trades: Sequence[Trade]) -> Found:
    """What was found of a gap, by one page of the source."""
    found = Found(gap)
    found.add(trades)
    return found


@given(some.sets(some.integers(3, 40)), some.integers(1, 9))
def test_holes_are_what_was_not_found_however_the_pages_are_cut(numbers: set[int], page: int) -> None:
    gap = Gap.of_numbers(a_trade(2, 0), 3, 40, at(1000))
    found, trades = Found(gap), [a_trade(number, number) for number in sorted(numbers)]
    for start in range(0, len(trades), page):
        found.add(trades[max(0, start - 1) : start + page])

    bounds = [hole.numbers for hole in found.holes() if hole.numbers is not None]
    missing = {number for first, last in bounds for number in range(first, last + 1)}
    assert missing == (set(range(3, 41)) - numbers if numbers else set())
    assert found.is_whole == (len(numbers) == 38)


def test_what_a_source_does_not_have_remains_with_its_own_bounds() -> None:
    found = [a_trade(3, 30), a_trade(5, 70)]
    whole, hole = a_gap().closed(found_of(a_gap(), found), 2, at(1000))
    assert (whole.state, whole.repaired_rows, whole.close_time) == (GapState.REPAIRED, 2, at(1000))
    assert (hole.state, hole.numbers) == (GapState.NOT_AT_SOURCE, (4, 4))
    assert (hole.start_time, hole.end_time) == (at(30), at(70))

    assert [gap.state for gap in a_gap().closed(found_of(a_gap(), []), 0, at(1000))] == [GapState.NOT_AT_SOURCE]
    all_three = [a_trade(number, 30) for number in (3, 4, 5)]
    assert [gap.state for gap in a_gap().closed(found_of(a_gap(), all_three), 3, at(1000))] == [GapState.REPAIRED]


def test_a_gap_in_time_is_repaired_only_by_a_source_whose_memory_reaches_back_to_it() -> None:
    gap = Gap.between(a_trade("a", 0), a_trade("d", 100))
    assert gap is not None
    assert gap.closed(found_of(gap, [a_trade("a", 0), a_trade("b", 50)]), 1, at(1000))[0].state is GapState.REPAIRED
    assert gap.closed(found_of(gap, [a_trade("b", 50)]), 1, at(1000))[0].state is GapState.NOT_AT_SOURCE


def test_intervals_are_whole_behind_the_first_trade_up_to_the_newest_where_no_gap_touches_them() -> None:
    coverage = Coverage()
    assert coverage.whole_until(at(0), at(600), MINUTE) == at(0)
    for trade in (a_trade(1, -5), a_trade(2, 70), a_trade(6, 130), a_trade(7, 400)):
        coverage.reach(trade)
    coverage.put(a_gap(start=70, end=130))

    assert coverage.whole_until(at(-60), at(600), MINUTE) == at(-60)
    assert coverage.whole_until(at(0), at(600), MINUTE) == at(60)
    assert coverage.whole_until(at(60), at(600), MINUTE) == at(60)
    assert coverage.whole_from(at(60), at(600), MINUTE) == at(180)
    assert coverage.whole_until(at(180), at(600), MINUTE) == at(360)
    assert coverage.whole_from(at(-60), at(600), Interval.FIVE_MINUTES) == at(300)

    gap = a_gap(start=70, end=130)
    (closed,) = gap.closed(found_of(gap, [a_trade(number, 100) for number in (3, 4, 5)]), 3, at(1000))
    coverage.put(closed)
    assert coverage.whole_until(at(0), at(600), MINUTE) == at(360)
    coverage.forget(at(150))
    assert coverage.whole_from(at(0), at(600), MINUTE) == at(180)


def test_the_price_behind_a_gap_is_that_of_the_trade_that_ends_it() -> None:
    coverage = Coverage(at(0), [a_gap(start=70, end=130)])
    assert coverage.is_newest(at(130), at(180))
    assert not coverage.is_newest(at(70), at(80))
    assert not coverage.is_newest(at(-1), at(180))


def test_a_trade_in_an_open_gap_waits_for_its_end() -> None:
    coverage = Coverage(at(0), [a_gap(start=70, end=130)])
    assert coverage.awaits(a_trade(4, 100))
    assert coverage.awaits(a_trade(4, -1))
    assert not coverage.awaits(a_trade(4, 10))


def test_candles_are_compared_to_the_last_digit_and_missing_ones_are_named() -> None:
    ours = [a_candle(0), a_candle(1), quiet(2), a_candle(4)]
    theirs = [a_candle(0), a_candle(1, volume="1.00000001"), quiet(2, "99"), a_candle(3)]
    comparison = compared(ours, theirs)
    assert (comparison.compared, comparison.equal) == (5, 1)
    assert [difference.fields for difference in comparison.differences] == [
        ("volume",),
        ("open", "high", "low", "close"),
        (),
        (),
    ]
    assert comparison.differences[2].ours is None
    assert comparison.differences[3].theirs is None
    assert timedelta(0) < a_gap().end_after - a_gap().end_time


def test_what_no_source_has_is_forgotten_with_its_time_and_what_is_open_is_not() -> None:
    lost = replace(a_gap(start=20, end=40), state=GapState.NOT_AT_SOURCE)
    opened = a_gap(7, 8, start=50, end=60)
    coverage = Coverage(at(0), [lost, opened])

    coverage.forget(at(100))

    coverage.extend(at(0))
    coverage.reach(a_trade(9, 600))
    assert coverage.open_gaps == [opened]
    assert coverage.is_newest(at(10), at(30))
