"""The symbols that are known."""

from collections.abc import Iterable

from services.marketdata.domain.market import Symbol
from services.marketdata.errors import SymbolNotFound
from services.runtime.errors import DependencyUnavailable


class Catalog:
    """All symbols in memory."""

    def __init__(self) -> None:
        self._symbols: dict[str, Symbol] = {}

    def add(self, symbols: Iterable[Symbol]) -> None:
        """Take in symbols, or newer versions of them."""
        self._symbols |= {symbol.symbol: symbol for symbol in symbols}

    def all(self) -> list[Symbol]:
        """All symbols, by id."""
        return [self._symbols[name] for name in sorted(self._symbols)]

    def require(self, name: str) -> None:
        """Raise SymbolNotFound unless there is a symbol ``name``, DependencyUnavailable while none at all is known."""
        if not self._symbols:
            raise DependencyUnavailable("no symbol is known yet: the source has to be reached first", part="feed")
        if name not in self._symbols:
            raise SymbolNotFound(f"symbol {name} is not known; ListSymbols lists them all", symbol=name)
