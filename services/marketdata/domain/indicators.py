"""Formulas over candles, and how many candles they need."""

from dataclasses import dataclass
from enum import Enum
from math import ceil, log

_FORGOTTEN = 1e-9
"""What may be left of the weight of the value that a recursive average begins with."""


class IndicatorKind(Enum):
    """A formula over candles."""

    RSI = "rsi"
    EMA = "ema"
    SMA = "sma"
    MACD = "macd"
    BOLLINGER = "bollinger"
    ATR = "atr"


@dataclass(frozen=True, slots=True)
class Indicator:
    """A formula with its parameters; those that it does not have are 0."""

    kind: IndicatorKind
    period: int = 0
    """Candles in the window; at least 2."""
    fast_period: int = 0
    slow_period: int = 0
    """Of MACD: larger than ``fast_period``."""
    signal_period: int = 0
    deviations: float = 0.0
    """Of Bollinger: how many standard deviations the bands are away."""

    @property
    def problem(self) -> tuple[str, str] | None:
        """The parameter that makes no sense, and what is wrong with it."""
        if self.kind is not IndicatorKind.MACD:
            return ("period", "must be at least 2") if self.period < 2 else None
        if self.fast_period < 2:
            return "fast_period", "must be at least 2"
        return ("slow_period", "must be larger than fast_period") if self.slow_period <= self.fast_period else None

    @property
    def warm_up(self) -> int:
        """How many candles before the first value have to be known so that the value is right.

        SMA and Bollinger look at their window and nothing else. EMA, RSI, ATR and MACD are recursive: every value rests
        on all candles before, and a computation that begins somewhere rests on its beginning too (TA-Lib calls this the
        unstable period, https://ta-lib.org/api/#unstable-period). The beginning's weight is (1 - a)^k after k candles,
        with a = 2 / (n + 1) for an exponential average and a = 1 / n for Wilder's, so k is chosen to make it 1e-9. A
        series that has fewer candles begins with its first one.
        """
        match self.kind:
            case IndicatorKind.SMA | IndicatorKind.BOLLINGER:
                return self.period - 1
            case IndicatorKind.EMA:
                return _of_average(self.period)
            case IndicatorKind.MACD:
                return _of_average(self.slow_period) + _of_average(self.signal_period)
            case _:
                return self.period + ceil(log(_FORGOTTEN) / log(1 - 1 / self.period))


def _of_average(period: int) -> int:
    return period - 1 + (ceil(log(_FORGOTTEN) / log(1 - 2 / (period + 1))) if period > 1 else 0)
