"""Who gathers the data of a source."""

from dataclasses import dataclass
from typing import Protocol


class LeaseLost(Exception):
    """Another replica has the lease by now, or may have it; whoever held it stops."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to gather the data of a source, for a while."""

    source: str
    holder: str
    """The replica that has it."""
    token: int
    """Grows with every holder: what is written under an older one is refused."""


class Leases(Protocol):
    """The leases of all sources; one replica at a time has that of a source."""

    @property
    def valid_seconds(self) -> float:
        """How long after its last renewal a lease can be taken by another replica."""

    async def acquire(self, source: str, holder: str) -> Lease | None:
        """The lease of ``source``, unless somebody has it."""

    async def renew(self, lease: Lease) -> None:
        """Hold ``lease`` for ``valid_seconds`` from now on. Raises LeaseLost."""

    async def release(self, lease: Lease) -> None:
        """Let others have ``lease`` at once, if it is still held."""
