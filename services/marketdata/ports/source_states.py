"""Where it stays how the sources are."""

from dataclasses import dataclass
from typing import Protocol

from services.marketdata.domain.source_status import SourceStatus
from services.marketdata.ports.leases import Lease


@dataclass(frozen=True)
class Led:
    """A source as all replicas see it."""

    leader: str
    """The replica that gathers its data; empty while none does."""
    status: SourceStatus | None
    """As the last leader wrote it; None before the first."""


class SourceStates(Protocol):
    """How the sources are, told by their leaders to all replicas."""

    async def put(self, status: SourceStatus, lease: Lease) -> None:
        """The source of ``lease`` is like this now. Raises LeaseLost."""

    async def all(self) -> dict[str, Led]:
        """All sources that anybody has ever led, by name."""
