"""Where reference rates of currencies are kept."""

from collections.abc import Sequence
from datetime import date
from typing import Protocol

from services.marketdata.domain.rates import Rate


class RateStore(Protocol):
    """Reference rates by source, base currency and day. Writing the same again changes nothing."""

    async def add(self, rates: Sequence[Rate]) -> int:
        """Store rates; how many were not stored before, or have changed."""

    async def newest_day(self, source: str) -> date | None:
        """The newest day of which rates of a source are stored."""

    async def of_day(self, day: date, currencies: Sequence[str], source: str) -> list[list[Rate]]:
        """The rates of the currencies on ``day``, or on the last of the seven days before it on which a source has all.

        One list for each source and base currency, the newest day first and then by source; of one source only where
        ``source`` is not empty. A currency that is the base has no rate of its own. No list is empty.
        """
