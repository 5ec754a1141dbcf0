"""A series grows at its end, without holes, from trades where it can and from the source where it must."""

from services.marketdata.domain.builder import Built
from services.marketdata.domain.market import Candle, Origin
from services.marketdata.domain.series import CandleSeries, Span, corrected_quiet, revised
from tests.unit.marketdata.builders import BTC, MINUTE, a_candle, at, quiet


def a_series(last: Candle | None = None) -> CandleSeries:
    """A series whose next candle opens at noon."""
    return CandleSeries(BTC, MINUTE, at(-600) if last else at(0), at(0), last)


def built(*minutes: int) -> Built:
    return Built([a_candle(minute, origin=Origin.TRADES) for minute in minutes])


def test_candles_built_from_trades_are_ready_when_they_come_next() -> None:
    series = a_series(quiet(-1))
    series.offer(built(1, 2))
    assert series.ready() == []

    series.offer(built(0))
    assert [candle.open_time for candle in series.ready()] == [at(0), at(60), at(120)]


def test_nothing_moves_before_it_is_stored() -> None:
    series = a_series()
    series.offer(built(0))
    assert series.ready() == series.ready()

    series.stored(series.ready())
    assert series.ready() == []
    assert series.next_open == at(60)


def test_the_source_is_asked_for_a_candle_that_is_over_by_its_clock_and_was_not_built() -> None:
    series = a_series(quiet(-1))
    assert not series.is_behind(at(59))
    assert series.is_behind(at(60))

    series.offer(built(0))
    assert not series.is_behind(at(60))


def test_of_the_sources_candles_only_those_are_taken_that_are_over_and_not_built() -> None:
    series = a_series(quiet(-1))
    series.offer(built(2))
    page = [a_candle(-1), a_candle(0), a_candle(1), a_candle(2), a_candle(3)]
    assert series.filled_from(page, at(120)) == [a_candle(0), a_candle(1)]
    assert series.filled_from(page, at(110)) == [a_candle(0)]
    assert series.filled_from(page, at(500)) == [a_candle(0), a_candle(1)]


def test_where_the_source_has_no_candle_between_two_nothing_was_traded() -> None:
    series = a_series(quiet(-1, "7"))
    assert series.filled_from([a_candle(2)], at(180)) == [quiet(0, "7"), quiet(1, "7"), a_candle(2)]


def test_where_the_source_has_no_candle_before_one_that_was_built_nothing_was_traded() -> None:
    series = a_series(quiet(-1, "7"))
    series.offer(built(2))
    assert series.filled_from([], at(170)) == []
    assert series.filled_from([], at(180)) == [quiet(0, "7"), quiet(1, "7")]


def test_after_the_last_candle_of_the_source_nothing_is_made_up() -> None:
    assert a_series(quiet(-1)).filled_from([], at(6000)) == []


def test_a_history_begins_with_the_first_candle_that_the_source_has() -> None:
    series = a_series()
    candles = series.filled_from([a_candle(5), a_candle(6)], at(600))
    assert candles == [a_candle(5), a_candle(6)]

    series.stored(candles)
    progress = series.progress(at(600), complete=False)
    assert (progress.start_time, progress.end_time) == (at(300), at(540))
    assert (progress.stored, progress.total) == (2, 5)


def test_a_doubtful_candle_that_is_stored_is_looked_at_again_and_one_that_is_not_when_it_is() -> None:
    series = a_series(quiet(-1))
    series.offer(built(0, 1))
    series.offer(Built(doubtful=[at(-60), at(60)]))
    assert [candle.open_time for candle in series.ready()] == [at(0)]
    assert series.doubtful(at(-1)) is None
    assert series.doubtful(at(0)) == Span(at(-60), at(0))

    series.settled(at(0), [quiet(-1, "7")])
    assert series.doubtful(at(0)) is None
    assert series.last == quiet(-1, "7")
    series.stored(series.ready())
    assert series.filled_from([a_candle(1)], at(120)) == [a_candle(1)]
    series.stored([a_candle(1)])
    assert series.doubtful(at(120)) == Span(at(60), at(120))


def test_what_becomes_doubtful_while_it_is_looked_at_is_looked_at_once_more() -> None:
    series = a_series()
    series.stored([a_candle(0), a_candle(1)])
    series.doubt(Span(at(0), at(120)))
    assert series.doubtful(at(120)) == Span(at(0), at(120))
    series.doubt(Span(at(0), at(120)))
    series.settled(at(60))
    assert series.doubtful(at(120)) == Span(at(0), at(120))
    series.settled(at(120))
    assert series.doubtful(at(120)) == Span(at(60), at(120))
    series.settled(at(120))
    assert not series.is_in_doubt


def test_a_quiet_candle_that_was_built_after_a_doubtful_one_is_not_used() -> None:
    series = a_series(quiet(-1))
    series.offer(Built([a_candle(0), quiet(1), quiet(2), a_candle(3)]))
    series.offer(Built(doubtful=[at(0)]))
    assert series.next_built == at(180)


def test_behind_a_hole_a_series_goes_on_with_the_first_candle_that_is_known() -> None:
    series = a_series(quiet(-1))
    series.skip_to(at(300))
    assert series.joined(None, [a_candle(6)], at(480)) == [a_candle(6), quiet(7)]
    assert not series.is_empty


def test_a_correction_changes_the_quiet_candles_behind_it_up_to_the_next_trade() -> None:
    following = [quiet(1), quiet(2), a_candle(3), quiet(4)]
    assert corrected_quiet(a_candle(0, ("100", "107", "100", "107")), following) == [quiet(1, "107"), quiet(2, "107")]
    assert corrected_quiet(a_candle(0), following) == []


def test_a_candle_gets_a_revision_only_when_its_values_change_and_keeps_the_better_origin() -> None:
    first = revised(None, a_candle(0))
    assert (first.revision, first.origin) == (0, Origin.SOURCE)
    from_trades = revised(first, a_candle(0, origin=Origin.TRADES))
    assert (from_trades.revision, from_trades.origin) == (0, Origin.TRADES)
    assert revised(from_trades, a_candle(0)).origin is Origin.TRADES
    assert revised(from_trades, quiet(0, "7")).revision == 1
