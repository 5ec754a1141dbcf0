"""Where symbols are kept."""

from collections.abc import Callable, Sequence
from typing import Protocol

from services.marketdata.domain.market import Symbol


class SymbolStore(Protocol):
    """The symbols, each with a version that every change raises."""

    async def symbols(self) -> list[Symbol]:
        """All symbols, by id."""

    async def put_reported(self, symbols: Sequence[Symbol]) -> None:
        """Take in what a source reports of its markets now.

        A new one is added. What the source reports otherwise than before becomes the symbol's; until then what somebody
        has changed here stays. Its state and its ``book_depth`` are never changed.
        """

    async def add(self, symbol: Symbol) -> Symbol:
        """Add a symbol; returns the one that is there when its id is taken, whatever its content."""

    async def change(self, symbol: str, how: Callable[[Symbol], Symbol]) -> Symbol | None:
        """Replace a symbol by what ``how`` makes of it, at its next version if it is another; None where there is none.

        What ``how`` raises is raised, and nothing has changed.
        """

    async def remove(self, symbol: str, check: Callable[[Symbol], None]) -> bool:
        """Remove a symbol unless ``check`` raises; whether it was there."""


class SymbolNews(Protocol):
    """Tells every replica that symbols have changed."""

    async def changed(self, symbols: Sequence[Symbol]) -> None:
        """These are new, or have new versions. Replicas that miss it read the store within seconds."""

    async def removed(self, symbol: str) -> None:
        """This one is gone."""
