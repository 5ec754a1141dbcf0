"""The symbols that are known."""

from collections.abc import Iterable

from services.marketdata.domain.market import Symbol
from services.marketdata.errors import SymbolNotFound
from services.runtime.errors import DependencyUnavailable


class Catalog:
    """All symbols in memory, each in its newest version that has been heard of."""

    def __init__(self) -> None:
        self._symbols: dict[str, Symbol] = {}

    def add(self, symbols: Iterable[Symbol]) -> None:
        """Take in symbols, or newer versions of them; an older version changes nothing."""
        for symbol in symbols:
            known = self._symbols.get(symbol.symbol)
            if known is None or symbol.version >= known.version:
                self._symbols[symbol.symbol] = symbol

    def replace(self, symbols: Iterable[Symbol]) -> None:
        """From now on there are these and no others."""
        self._symbols = {symbol.symbol: symbol for symbol in symbols}

    def remove(self, name: str) -> None:
        """Forget a symbol."""
        self._symbols.pop(name, None)

    def all(self) -> list[Symbol]:
        """All symbols, by id."""
        return [self._symbols[name] for name in sorted(self._symbols)]

    def get(self, name: str) -> Symbol:
        """The symbol ``name``. Raises SymbolNotFound, and DependencyUnavailable while none at all is known."""
        if not self._symbols:
            raise DependencyUnavailable("no symbol is known yet: the source has to be reached first", part="feed")
        if name not in self._symbols:
            raise SymbolNotFound(f"symbol {name} is not known; ListSymbols lists them all", symbol=name)
        return self._symbols[name]

    def require(self, name: str) -> None:
        """Raise as ``get`` does unless there is a symbol ``name``."""
        self.get(name)
