"""What all features share: the description of a feature, and one candle prepared for them."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from services.prediction.domain.market import Bar

PRICE_UNITS = 2.0**48
"""Logarithms of prices are counted in 2**-48, so that sums of them are exact. Prices are known to far less."""
VOLUME_UNITS = 2.0**32
"""Logarithms of volumes are counted in 2**-32."""
BLOCK = 144
"""Candles (half a day) in a block of the grid on which exponential averages begin anew."""
WARMUP = 2 * BLOCK + 1
"""Consecutive candles after which there are features: a day of changes from one to the next."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One number about the newest candle. ``window`` is how many candles it looks back on, that one included."""

    name: str
    meaning: str
    window: int


class Step(NamedTuple):
    """One candle after another. ``level`` is the close's logarithm, ``change`` what it differs from the one before."""

    bar: Bar
    level: int
    change: int
    true_range: float
    volume: int
    begins_block: bool


def level(price: float) -> int:
    """The logarithm of a price in units of 1 / PRICE_UNITS."""
    return round(math.log(price) * PRICE_UNITS)
