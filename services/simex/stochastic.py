"""An invented market: correlated minute candles with the habits of real ones.

Returns follow a GARCH(1,1) process (Bollerslev 1986) with shared jumps; a hidden regime (calm, rising, falling,
reverting) lends them a little drift and autocorrelation for hours at a time, small against the noise: about as much as
in real markets, so that a model can learn something but not much. Volume follows the size of moves and the time of
day.
"""

import math
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from services.simex.columns import Ints
from services.simex.instrument import Instrument
from services.simex.synthesis import Bars, Floats, needed_prints
from services.simex.tape import DAY_MS

BASE_MS = 60_000
_MINUTES = 1440
_SIGMA = 0.0006
"""Long-run standard deviation of a minute's return: 2.3 % a day."""
_ALPHA, _BETA = 0.08, 0.90
_PULL = 1 / (60 * _MINUTES)
"""How strongly the logarithm of the price is drawn to its first value, each minute."""
_SHARED = 0.8
"""Correlation of each symbol's shocks with the market's."""
_JUMPS_PER_DAY, _JUMP_SIZE = 1.0, 6.0
_REGIMES = ((0.0, 0.0), (0.06, 0.04), (-0.06, 0.04), (0.0, -0.12))
"""Drift in standard deviations a minute, and autocorrelation: calm, rising, falling, reverting."""
_SWITCH = 1 / 180
"""Chance that the regime changes within a minute."""
_QUOTE_PER_MINUTE = 600_000.0
"""Mean turnover of a symbol in a minute, in the quote asset."""
_TRADES_PER_MINUTE = 240.0
_TRADES_PER_PRINT = 5


@dataclass
class _Walk:
    """Where one symbol's price process stands."""

    log_price: float
    home: float
    variance: float = _SIGMA**2
    last_return: float = 0.0


@dataclass(frozen=True)
class _Minutes:
    """One symbol's day before it is rounded: log prices and standard deviations of 1440 minutes."""

    log_prices: Floats
    sigmas: Floats


def invented_instrument(name: str, price: Decimal) -> Instrument:
    """The instrument of ``BASE-QUOTE`` at about ``price``, with decimal places as Binance would choose them."""
    base, quote = name.split("-")
    magnitude = price.adjusted()
    return Instrument(base, quote, min(8, max(2, 5 - magnitude)), min(8, max(0, magnitude + 1)))


class StochasticMarket:
    """The minute candles of all invented symbols, from ``start_ms`` on without an end, made day by day."""

    def __init__(self, prices: dict[str, Decimal], seed: int, start_ms: int) -> None:
        self._seed = seed
        self._start_day = self._next_day = start_ms // DAY_MS
        self._regime = 0
        self.sources = {name: StochasticBars(self, self._start_day * DAY_MS) for name in prices}
        self._instruments = {name: invented_instrument(name, price) for name, price in prices.items()}
        self._walks = {name: _Walk(math.log(price), math.log(price)) for name, price in prices.items()}

    def instrument(self, name: str) -> Instrument:
        """The instrument of the symbol ``name``."""
        return self._instruments[name]

    def extend(self, end_ms: int) -> None:
        """Make all days that begin before ``end_ms``."""
        days: dict[str, list[Bars]] = {name: [] for name in self.sources}
        while self._next_day * DAY_MS < end_ms:
            rng = np.random.default_rng((self._seed, 2, self._next_day - self._start_day))
            regimes, market = self._regimes(rng), rng.standard_normal(_MINUTES)
            jumps = (rng.random(_MINUTES) < _JUMPS_PER_DAY / _MINUTES) * rng.standard_normal(_MINUTES) * _JUMP_SIZE
            for name, walk in self._walks.items():
                own = rng.standard_normal(_MINUTES)
                shocks = _SHARED * market + math.sqrt(1 - _SHARED**2) * own + jumps
                before = walk.log_price
                minutes = _walk_a_day(walk, shocks, regimes)
                days[name].append(self._bars(name, before, minutes, rng))
            self._next_day += 1
        for name, parts in days.items():
            self.sources[name].append(parts)

    def _regimes(self, rng: np.random.Generator) -> list[tuple[float, float]]:
        switches, choices = rng.random(_MINUTES) < _SWITCH, rng.integers(0, len(_REGIMES), _MINUTES)
        regimes = []
        for switch, choice in zip(switches, choices, strict=True):
            if switch:
                self._regime = int(choice)
            regimes.append(_REGIMES[self._regime])
        return regimes

    def _bars(self, name: str, before: float, minutes: _Minutes, rng: np.random.Generator) -> Bars:
        instrument = self._instruments[name]
        scale = 10.0**instrument.price_decimals
        levels = np.maximum(1, np.rint(np.exp(np.concatenate(([before], minutes.log_prices))) * scale)).astype(np.int64)
        opens, closes = levels[:-1], levels[1:]
        reach = 0.45 * minutes.sigmas * closes
        highs = np.maximum(opens, closes) + np.rint(reach * np.abs(rng.standard_normal(_MINUTES))).astype(np.int64)
        lows = np.minimum(opens, closes) - np.rint(reach * np.abs(rng.standard_normal(_MINUTES))).astype(np.int64)
        lows = np.maximum(1, lows)
        size = np.abs(np.diff(np.concatenate(([before], minutes.log_prices)))) / _SIGMA
        season = 1 + 0.5 * np.sin((np.arange(_MINUTES) / _MINUTES - 0.4) * 2 * np.pi)
        activity = season * (0.4 + 0.6 * size) * rng.lognormal(-0.15, 0.55, _MINUTES)
        step = 10.0**-instrument.quantity_decimals
        steps = np.rint(activity * _QUOTE_PER_MINUTE / (closes / scale) / step).astype(np.int64)
        trades = np.rint(_TRADES_PER_MINUTE * np.sqrt(activity)).astype(np.int64)
        return _counted(self._next_day, opens, highs, lows, closes, steps, trades)


class StochasticBars:
    """The bars of one invented symbol."""

    base_ms = BASE_MS
    end_ms: int | None = None

    def __init__(self, market: StochasticMarket, start_ms: int) -> None:
        self.start_ms = start_ms
        self._market = market
        self._bars: Bars | None = None

    def until(self, end_ms: int) -> Bars:
        """All bars from the start on, at least those that open before ``end_ms`` and the first day."""
        if self._bars is None or self._bars.open_ms[-1] + BASE_MS < end_ms:
            self._market.extend(max(end_ms, self.start_ms + 1))
        if self._bars is None:
            raise RuntimeError("the first day was not made")
        return self._bars

    def append(self, days: list[Bars]) -> None:
        """Add the days that follow those already here."""
        if not days:
            return
        bars = Bars.concatenate([*([] if self._bars is None else [self._bars]), *days])
        self._bars = replace(bars, position=np.cumsum(bars.trades) - bars.trades)


def _walk_a_day(walk: _Walk, shocks: Floats, regimes: list[tuple[float, float]]) -> _Minutes:
    log_prices, sigmas = np.empty(_MINUTES), np.empty(_MINUTES)
    long_run = _SIGMA**2 * (1 - _ALPHA - _BETA)
    for minute, (shock, (drift, memory)) in enumerate(zip(shocks.tolist(), regimes, strict=True)):
        # Bounded, so that a jump is felt for hours and not for days.
        walk.variance = min(long_run + _ALPHA * walk.last_return**2 + _BETA * walk.variance, (5 * _SIGMA) ** 2)
        sigma = math.sqrt(walk.variance)
        pull = _PULL * (walk.home - walk.log_price)
        walk.last_return = sigma * (shock + drift) + memory * walk.last_return + pull
        walk.log_price += walk.last_return
        log_prices[minute], sigmas[minute] = walk.log_price, sigma
    return _Minutes(log_prices, sigmas)


def _counted(day: int, opens: Ints, highs: Ints, lows: Ints, closes: Ints, steps: Ints, trades: Ints) -> Bars:
    """Bars with as many prints and trades as their volume allows, at least what their prices need."""
    needed = needed_prints(opens, highs, lows, closes)
    volume = np.maximum(steps, needed)
    trades = np.clip(trades, needed, np.minimum(volume, 2000))
    prints = np.clip(trades // _TRADES_PER_PRINT, np.minimum(np.maximum(needed, 12), trades), np.minimum(trades, 90))
    open_ms = day * DAY_MS + np.arange(_MINUTES) * BASE_MS
    return Bars(open_ms, opens, highs, lows, closes, volume, prints, trades, np.zeros(_MINUTES, np.int64))
