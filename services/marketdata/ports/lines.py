"""Lines: rows numbered 1, 2, 3 … without holes, as they were stored, and how far they have been published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Line:
    """How far a line is."""

    last_sequence: int
    """Of the newest row that is stored; 0 before the first."""
    published_sequence: int
    """Everything up to it has been published; perhaps more, for it is written down behind."""


class Lines(Protocol):
    """All lines by name: ``trades:<symbol>``, ``candles:<seconds>:<symbol>``, ``books:<symbol>``."""

    async def get(self, names: Sequence[str]) -> dict[str, Line]:
        """How far these lines are; those that nothing was stored in are left out."""

    async def put_published(self, sequences: Mapping[str, int]) -> None:
        """These lines have been published so far; what is further already stays."""


def trades_line(symbol: str) -> str:
    """The line of a symbol's trades."""
    return f"trades:{symbol}"
