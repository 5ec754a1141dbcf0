"""Reference rates of currencies."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Rate:
    """What one unit of ``base`` was worth in ``quote`` on a day, by a source."""

    source: str
    base: str
    quote: str
    day: date
    rate: Decimal
