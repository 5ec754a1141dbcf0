"""Where rows go that broke a rule."""

from typing import Protocol

from services.marketdata.domain.quarantine import Refused


class Quarantine(Protocol):
    """Keeps rows that broke a rule aside; none of them vanishes, and none stops a stream."""

    def put(self, row: Refused) -> None:
        """Keep ``row``; never waits, and never fails."""
