"""The newest price of each symbol, and the 24 hours before it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from services.marketdata.domain.market import Candle, Interval, Trade, total

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Day:
    """24 hours of trading, summed up."""

    open: Decimal
    high: Decimal
    low: Decimal
    volume: Decimal


@dataclass(frozen=True)
class Ticker:
    """The newest trade of a symbol and the 24 hours that end with its newest complete one-minute candle."""

    last: Trade
    day: Day | None
    """None before the first candle."""


class TickerBoard:
    """Keeps what the tickers are made of in memory."""

    def __init__(self) -> None:
        self._trades: dict[str, Trade] = {}
        self._minutes: dict[str, dict[datetime, Candle]] = {}
        self._days: dict[str, Day] = {}

    def add_trade(self, trade: Trade) -> None:
        """Take in a stored trade; one that is older than the newest changes nothing."""
        newest = self._trades.get(trade.symbol)
        if newest is None or _moment(trade) >= _moment(newest):
            self._trades[trade.symbol] = trade

    def add_candle(self, candle: Candle) -> None:
        """Take in a stored candle: the next one, another version of one before, or one from before them."""
        if candle.interval is not Interval.ONE_MINUTE:
            return
        minutes = self._minutes.setdefault(candle.symbol, {})
        newest = next(reversed(minutes), candle.open_time)
        if candle.open_time <= newest - _DAY:
            return
        is_before = candle.open_time < newest and candle.open_time not in minutes
        minutes[candle.open_time] = candle
        if is_before:
            self._minutes[candle.symbol] = minutes = dict(sorted(minutes.items()))
        while (oldest := next(iter(minutes))) <= max(newest, candle.open_time) - _DAY:
            del minutes[oldest]
        self._days.pop(candle.symbol, None)

    def ticker(self, symbol: str) -> Ticker | None:
        """The ticker of ``symbol``; None before its first trade."""
        last = self._trades.get(symbol)
        return None if last is None else Ticker(last, self._day(symbol))

    def _day(self, symbol: str) -> Day | None:
        if symbol not in self._days and (known := self._minutes.get(symbol)):
            minutes = list(known.values())
            self._days[symbol] = Day(
                minutes[0].open,
                max(minute.high for minute in minutes),
                min(minute.low for minute in minutes),
                total([minute.volume for minute in minutes]),
            )
        return self._days.get(symbol)


def _moment(trade: Trade) -> tuple[float, int]:
    return trade.trade_time.timestamp(), trade.number or 0
