"""Exponential averages: EMA, MACD, Wilder's RSI and ATR, all of log prices, so that no scale matters.

An exponential average remembers everything for ever, so that one fed with a day of candles would differ, a little,
from one fed with a year. Here time is cut into blocks of ``BLOCK`` candles, counted from 1970. At the first candle of
a block averages begin, seeded with that candle; they are read during the block after it. A value so depends on the
candles since the beginning of the block before its own and on nothing earlier: at most ``2 * BLOCK`` of them. The
slowest average (alpha 2/27) has forgotten all but 2e-5 of its seed when it is first read.
"""

from services.prediction.features.step import PRICE_UNITS, Feature, Step

_FAST, _SLOW, _SIGNAL = 2 / 13, 2 / 27, 2 / 10
_WILDER = 1 / 14


class _Averages:
    """Averages that began at one candle."""

    __slots__ = ("fast", "gain", "loss", "signal", "slow", "true_range")

    def __init__(self, step: Step) -> None:
        self.fast = self.slow = step.level / PRICE_UNITS
        self.signal = 0.0
        self.gain, self.loss = _gain_and_loss(step)
        self.true_range = step.true_range

    def update(self, step: Step) -> None:
        price = step.level / PRICE_UNITS
        gain, loss = _gain_and_loss(step)
        self.fast += _FAST * (price - self.fast)
        self.slow += _SLOW * (price - self.slow)
        self.signal += _SIGNAL * (self.fast - self.slow - self.signal)
        self.gain += _WILDER * (gain - self.gain)
        self.loss += _WILDER * (loss - self.loss)
        self.true_range += _WILDER * (step.true_range - self.true_range)


class Trend:
    """Indicators made of exponential averages."""

    features = (
        Feature("ema_12", "log close above its exponential average of span 12", 288),
        Feature("ema_26", "log close above its exponential average of span 26", 288),
        Feature("macd", "exponential average of the log close of span 12 above that of span 26", 288),
        Feature("macd_histogram", "macd above its exponential average of span 9", 288),
        Feature("rsi_14", "Wilder's relative strength index of log returns, 0 to 100, 50 without movement", 289),
        Feature("atr_14", "Wilder's average over 14 of the true range of log prices", 289),
    )

    def __init__(self) -> None:
        self._young: _Averages | None = None
        self._mature: _Averages | None = None

    def update(self, step: Step) -> tuple[float, ...]:
        """The values of ``features`` after ``step``."""
        if self._young is None or step.begins_block:
            self._mature, self._young = self._young, _Averages(step)
        else:
            self._young.update(step)
        if self._mature is None:
            return (0.0,) * len(self.features)
        self._mature.update(step)
        return self._values(self._mature, step.level / PRICE_UNITS)

    @staticmethod
    def _values(averages: _Averages, price: float) -> tuple[float, ...]:
        macd = averages.fast - averages.slow
        movement = averages.gain + averages.loss
        return (
            price - averages.fast,
            price - averages.slow,
            macd,
            macd - averages.signal,
            100 * averages.gain / movement if movement else 50.0,
            averages.true_range,
        )


def _gain_and_loss(step: Step) -> tuple[float, float]:
    change = step.change / PRICE_UNITS
    return (change, 0.0) if change > 0 else (0.0, -change)
