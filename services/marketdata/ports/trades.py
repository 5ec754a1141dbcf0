"""Where trades stay."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.marketdata.domain.market import Trade
from services.marketdata.ports.leases import Lease


@dataclass(frozen=True)
class Stored:
    """What became of trades that were to be stored."""

    new: list[Trade]
    """Those that were not stored before, in the order given, with their sequences."""
    known: int
    """How many were stored before, or given twice."""
    conflicts: list[Trade]
    """Those of which another one with the same id and other content is stored."""


class TradeStore(Protocol):
    """The trades of all symbols. The trades of a symbol are numbered 1, 2, 3 … as they are stored."""

    async def add(self, trades: Sequence[Trade], lease: Lease | None) -> Stored:
        """Store trades, all or none; their sequences are decided here.

        A trade is known when one with its id is stored within a second of its time; when it was received does not
        matter. Raises LeaseLost, and has stored nothing, when ``lease`` is another's; without one anybody may store.
        """

    async def after(self, symbol: str, sequence: int, limit: int) -> list[Trade]:
        """The first ``limit`` trades of a symbol behind ``sequence``, in the order in which they were stored."""

    async def drop_expired(self, before: datetime) -> None:
        """Drop the partitions that hold nothing newer."""

    async def delete_expired(self, source: str, before: datetime) -> None:
        """Delete what is older of one source's symbols; the partitions stay, because of others."""
