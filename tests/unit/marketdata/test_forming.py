"""The candle that contains the newest trade, of every interval."""

from dataclasses import replace
from decimal import Decimal
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from services.marketdata.domain.forming import FormingCandles
from services.marketdata.domain.market import Interval
from services.marketdata.domain.roll_up import roll_up
from tests.unit.marketdata.builders import BTC, FIVE, MINUTE, a_candle, a_trade, at


def test_there_is_none_before_the_first_trade() -> None:
    assert FormingCandles().current(BTC, MINUTE) is None


def test_it_begins_anew_with_the_first_trade_of_the_next_interval_and_late_trades_of_it_count() -> None:
    forming = FormingCandles()
    for trade in (a_trade(1, 10, "5"), a_trade(2, 70, "7"), a_trade(4, 75, "9"), a_trade(3, 72, "8")):
        forming.add_trade(trade)
    forming.add_trade(a_trade(0, 20, "1"))
    assert forming.current(BTC, MINUTE) == a_candle(1, ("7", "9", "7", "9"), "3")
    assert forming.current(BTC, Interval.ONE_SECOND) == replace(
        a_candle(0, ("9", "9", "9", "9")), interval=Interval.ONE_SECOND, open_time=at(75)
    )


@given(st.lists(st.tuples(st.integers(0, 299), st.integers(1, 9)), min_size=1, max_size=30), st.randoms())
def test_order_and_duplicates_do_not_matter(rows: list[tuple[int, int]], random: Random) -> None:
    trades = [a_trade(number, seconds, str(price)) for number, (seconds, price) in enumerate(sorted(rows), 100)]
    ordered, shuffled = FormingCandles(), FormingCandles()
    for trade in trades:
        ordered.add_trade(trade)
    doubled = [*trades, *random.choices(trades, k=5)]
    random.shuffle(doubled)
    for trade in doubled:
        shuffled.add_trade(trade)
    assert ordered.current(BTC, FIVE) == shuffled.current(BTC, FIVE)


def test_a_long_one_is_made_of_the_complete_parts_before_and_follows_their_corrections() -> None:
    forming = FormingCandles()
    parts = [replace(a_candle(5 * number), interval=FIVE) for number in range(-2, 3)]
    for part in parts:
        forming.add_candle(part)
    forming.add_trade(a_trade(1, 15 * 60 + 3, "104", "2"))
    hour = forming.current(BTC, Interval.ONE_HOUR)
    assert hour is not None
    assert hour.open_time == at(0)
    assert [hour.open, hour.high, hour.close, hour.volume] == [100, 104, 104, 5]
    quarter = forming.current(BTC, Interval.FIFTEEN_MINUTES)
    assert quarter is not None
    assert quarter.open_time == at(900)
    assert quarter.volume == 2

    forming.add_candle(replace(parts[3], high=Decimal(120)))
    corrected = forming.current(BTC, Interval.ONE_HOUR)
    assert corrected is not None
    assert corrected.high == 120


def test_only_candles_with_all_their_parts_are_rolled_up() -> None:
    parts = [replace(a_candle(5 * number), interval=FIVE) for number in [0, 1, 2, 4, 5, 6, 7, 8]]
    assert [candle.open_time for candle in roll_up(reversed(parts), Interval.FIFTEEN_MINUTES)] == [at(0), at(1800)]
    assert roll_up(parts, Interval.ONE_HOUR) == []
