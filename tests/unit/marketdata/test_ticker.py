"""The ticker shows the newest trade and the 24 hours that end with the newest complete minute."""

from decimal import Decimal

from services.marketdata.domain.ticker import Day, TickerBoard
from tests.unit.marketdata.builders import BTC, a_candle, a_trade


def a_board() -> TickerBoard:
    board = TickerBoard()
    board.add_trade(a_trade(1, 0))
    return board


def day_of(board: TickerBoard) -> Day | None:
    ticker = board.ticker(BTC)
    assert ticker is not None
    return ticker.day


def test_there_is_no_ticker_before_the_first_trade() -> None:
    board = TickerBoard()
    board.add_candle(a_candle(0))
    assert board.ticker(BTC) is None


def test_the_last_price_is_that_of_the_newest_trade_in_whatever_order_they_come() -> None:
    board = TickerBoard()
    for trade in (a_trade(9, 5, "9"), a_trade(10, 5, "10"), a_trade(8, 4, "8")):
        board.add_trade(trade)
    ticker = board.ticker(BTC)
    assert ticker is not None
    assert ticker.last.price == 10


def test_the_day_sums_up_24_hours_of_minutes_and_forgets_older_ones() -> None:
    board = a_board()
    assert day_of(board) is None
    board.add_candle(a_candle(0, ("1", "99", "1", "50")))
    for minute in range(1, 24 * 60 + 1):
        board.add_candle(a_candle(minute, ("50", "60", "40", "55"), "0.1"))
    assert day_of(board) == Day(Decimal(50), Decimal(60), Decimal(40), Decimal(144))


def test_another_version_of_a_minute_replaces_it() -> None:
    board = a_board()
    for minute in range(3):
        board.add_candle(a_candle(minute))
    board.add_candle(a_candle(1, ("100", "120", "100", "100"), "5"))
    assert day_of(board) == Day(Decimal(100), Decimal(120), Decimal(100), Decimal(7))


def test_history_that_is_read_after_the_newest_minutes_belongs_to_the_day_too_but_nothing_older() -> None:
    board = a_board()
    board.add_candle(a_candle(5))
    board.add_candle(a_candle(2, ("1", "1", "1", "1")))
    board.add_candle(a_candle(3))
    board.add_candle(a_candle(5 - 24 * 60, ("500", "500", "500", "500")))
    assert day_of(board) == Day(Decimal(1), Decimal(100), Decimal(1), Decimal(3))
