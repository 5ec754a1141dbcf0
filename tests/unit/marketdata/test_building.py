"""Candles are built from every trade of their interval, or not at all."""

from collections.abc import Sequence
from datetime import datetime
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from services.marketdata.domain.builder import Built, CandleBuilder
from services.marketdata.domain.market import Candle, Interval, Origin, Trade
from services.marketdata.domain.sequence import Break, Step, TradeSequence
from tests.unit.marketdata.builders import FIVE, MINUTE, a_candle, a_trade, at, quiet


class Line:
    """A sequence with a builder after it."""

    def __init__(self, interval: Interval = MINUTE) -> None:
        self.sequence, self.builder = TradeSequence(), CandleBuilder(interval)
        self.candles: list[Candle] = []
        self.doubtful: list[datetime] = []

    def add(self, *arrived: Step) -> None:
        self._take(self.builder.add(self.sequence.add(arrived)))

    def expire(self, seconds: float) -> None:
        self._take(self.builder.add(self.sequence.expire(at(seconds))))
        if not self.sequence.waits:
            self._take(self.builder.close(at(seconds)))

    def _take(self, built: Built) -> None:
        self.candles += built.candles
        self.doubtful += built.doubtful


def test_a_trade_of_a_later_interval_completes_the_candle_before_it() -> None:
    line = Line()
    line.add(a_trade(1, -5), a_trade(2, 0, "100", "1.5"), a_trade(3, 30, "90"), a_trade(4, 59.999, "95", "0.25"))
    assert line.candles == []

    line.add(a_trade(5, 60))

    assert line.candles == [a_candle(0, ("100", "100", "90", "95"), "2.75")]
    assert line.candles[0].origin is Origin.TRADES


def test_the_interval_of_the_first_trade_is_not_built_because_others_may_have_come_before_it() -> None:
    line = Line()
    line.add(a_trade(1, 0), a_trade(2, 61))
    assert line.candles == []

    line.add(a_trade(3, 120))
    assert line.candles == [a_candle(1)]


def test_intervals_without_trades_between_two_trades_are_flat_at_the_price_before_them() -> None:
    line = Line()
    line.add(a_trade(1, -1), a_trade(2, 10, "7"), a_trade(3, 200, "9"))
    assert line.candles == [a_candle(0, ("7", "7", "7", "7")), quiet(1, "7"), quiet(2, "7")]


def test_an_interval_with_a_missing_trade_is_not_built_nor_are_those_that_it_may_belong_to() -> None:
    line = Line()
    line.add(a_trade(1, -1), a_trade(2, 10), a_trade(4, 70), a_trade(5, 130), a_trade(6, 190))
    assert line.candles == []

    line.expire(200)

    assert line.candles == [a_candle(2)]


def test_a_trade_that_arrives_before_its_predecessor_waits_for_it() -> None:
    line = Line()
    line.add(a_trade(1, -1), a_trade(2, 10), a_trade(4, 70), a_trade(3, 50, "90"), a_trade(5, 120))
    assert line.candles == [a_candle(0, ("100", "100", "90", "90"), "2"), a_candle(1)]


def test_the_clock_completes_a_candle_that_no_later_trade_has_completed_and_makes_none_without_trades() -> None:
    line = Line()
    line.add(a_trade(1, -1), a_trade(2, 10))
    line.expire(59)
    assert line.candles == []

    line.expire(60)
    line.expire(200)

    assert line.candles == [a_candle(0)]
    assert line.doubtful == []


def test_a_trade_that_arrives_after_the_clock_closed_its_candle_makes_the_candle_doubtful() -> None:
    line = Line()
    line.add(a_trade(1, -1), a_trade(2, 10))
    line.expire(60)
    line.add(a_trade(3, 59))
    assert line.doubtful == [at(0)]


def test_a_candle_closed_by_the_clock_is_doubtful_once_a_trade_turns_out_to_be_missing() -> None:
    line = Line()
    line.add(a_trade(1, -1), a_trade(2, 10))
    line.expire(60)
    line.add(a_trade(4, 100))
    line.expire(101)
    assert line.doubtful == [at(0)]


def test_a_trade_of_an_interval_that_is_long_over_makes_its_candle_doubtful() -> None:
    line = Line()
    line.add(a_trade("a", -1), a_trade("b", 10), a_trade("c", 130), a_trade("d", 70))
    assert line.doubtful == [at(60)]


def test_ids_that_are_no_numbers_tell_duplicates_and_a_lost_connection_is_a_break() -> None:
    line = Line()
    line.add(a_trade("a", -1), a_trade("b", 10), a_trade("b", 10), a_trade("c", 60))
    assert line.candles == [a_candle(0)]

    line.add(Break(), a_trade("d", 70), a_trade("e", 120), a_trade("f", 180))
    assert line.candles == [a_candle(0), a_candle(2)]


def test_a_source_that_begins_to_count_anew_is_followed_after_a_break() -> None:
    line = Line()
    line.add(a_trade(900, -1), a_trade(901, 10), a_trade(1, 70), a_trade(2, 130), a_trade(3, 190))
    assert line.candles == [a_candle(2)]


@st.composite
def histories(draw: st.DrawFn) -> list[Trade]:
    """Trades with consecutive numbers over some minutes, the first of them before noon."""
    pauses = draw(st.lists(st.sampled_from([0.0, 0.5, 7.0, 31.0, 64.0, 200.0]), min_size=1, max_size=40))
    trades, seconds = [a_trade(1, -1)], 0.0
    for index, pause in enumerate(pauses):
        seconds += pause
        price, quantity = draw(st.integers(1, 9)), draw(st.decimals("0.00001", "5", places=5))
        trades.append(a_trade(index + 2, seconds, str(price), str(quantity)))
    return trades


def summed_up(trades: Sequence[Trade], interval: Interval) -> list[Candle]:
    """The candles of the intervals from noon to the last trade's, that one excluded: the plain way."""
    candles: list[Candle] = []
    close, open_time = trades[0].price, at(0)
    while open_time < interval.floor(trades[-1].trade_time):
        inside = [trade for trade in trades if interval.floor(trade.trade_time) == open_time]
        prices = [trade.price for trade in inside] or [close]
        volume = sum((trade.quantity for trade in inside), start=trades[0].quantity * 0)
        close = prices[-1]
        symbol = trades[0].symbol
        candles.append(
            Candle(symbol, interval, open_time, prices[0], max(prices), min(prices), close, volume, Origin.TRADES)
        )
        open_time += interval.length
    return candles


@given(histories(), st.randoms(use_true_random=False), st.sampled_from([MINUTE, FIVE]))
def test_trades_in_any_order_and_number_within_a_window_give_the_same_candles(
    trades: list[Trade], random: Random, interval: Interval
) -> None:
    window = 5
    rest = trades[1:] + random.choices(trades, k=len(trades) // 2)
    arrived = sorted(rest, key=lambda trade: int(trade.trade_id) + random.uniform(0, window))
    line = Line(interval)
    line.add(trades[0])
    for trade in arrived:
        line.add(trade)

    assert line.candles == summed_up(trades, interval)
    assert line.doubtful == []


@given(histories(), st.sets(st.integers(2, 41), min_size=1, max_size=5), st.booleans())
def test_a_candle_that_lacks_a_trade_is_not_built_or_becomes_doubtful(
    trades: list[Trade], missing: set[int], clock_runs: bool
) -> None:
    last = a_trade(len(trades) + 1, 5_000)
    line = Line()
    for trade in [*trades, last]:
        if trade is last or trade.number not in missing:
            line.add(trade)
            if clock_runs:
                line.expire((trade.trade_time - at(0)).total_seconds())
    line.expire(5_001)

    exact = {candle.open_time: candle for candle in summed_up([*trades, last], MINUTE)}
    wrong = {candle.open_time for candle in line.candles if exact[candle.open_time] != candle}
    assert wrong <= set(line.doubtful)
    assert clock_runs or not wrong
