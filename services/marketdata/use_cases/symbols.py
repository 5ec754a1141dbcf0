"""Deciding which markets are followed, and by which rules."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from services.marketdata.domain.market import Symbol, SymbolState
from services.marketdata.errors import (
    MarketNotAtSource,
    SourceNotFound,
    SymbolActive,
    SymbolExists,
    SymbolNotFound,
    VersionConflict,
)
from services.marketdata.ports.sources import Source, SourceUnavailable
from services.marketdata.ports.symbols import SymbolNews, SymbolStore
from services.runtime.errors import DependencyUnavailable


@dataclass(frozen=True)
class NewSymbol:
    """A symbol that is wanted; what is None is decided by the source."""

    symbol: str
    source_symbol: str
    price_step: Decimal | None
    quantity_step: Decimal | None
    min_notional: Decimal | None
    min_quantity: Decimal | None
    max_quantity: Decimal | None
    book_depth: int | None

    @property
    def source(self) -> str:
        """The name of its source."""
        return self.symbol.rpartition("@")[2]

    def wanted(self, market: Symbol) -> Symbol:
        """The symbol, with what the source says of its ``market`` where nothing else is wanted."""
        asked: dict[str, Any] = {
            "price_step": self.price_step,
            "quantity_step": self.quantity_step,
            "min_notional": self.min_notional,
            "min_quantity": self.min_quantity,
            "max_quantity": self.max_quantity,
            "book_depth": self.book_depth,
        }
        return replace(market, **{name: value for name, value in asked.items() if value is not None})


class CreateSymbol:
    """Begin to follow a market of a source."""

    def __init__(self, store: SymbolStore, news: SymbolNews, sources: Mapping[str, Source]) -> None:
        self._store = store
        self._news = news
        self._sources = sources

    async def __call__(self, new: NewSymbol) -> Symbol:
        source = self._sources.get(new.source)
        if source is None:
            raise SourceNotFound(
                f"no source is called {new.source}; ListSources lists them, the settings name them", source=new.source
            )
        try:
            market = await source.market(new.symbol, new.source_symbol)
        except SourceUnavailable as error:
            raise DependencyUnavailable(str(error), part=f"feed:{new.source}") from error
        if market is None:
            raise MarketNotAtSource(
                f"{new.source} has no market for {new.symbol}; give its own name as source_symbol", symbol=new.symbol
            )
        wanted = new.wanted(market)
        found = await self._store.add(wanted)
        if replace(found, version=wanted.version, state=wanted.state) != wanted:
            raise SymbolExists(f"{new.symbol} is there with other content; UpdateSymbol changes it", symbol=new.symbol)
        await self._news.changed([found])
        return found


class ChangeSymbol:
    """Change the rules or the state of a symbol, all of them at one moment."""

    def __init__(self, store: SymbolStore, news: SymbolNews) -> None:
        self._store = store
        self._news = news

    async def __call__(self, symbol: str, changes: Mapping[str, Any], expected_version: int = 0) -> Symbol:
        def change(found: Symbol) -> Symbol:
            if expected_version and found.version != expected_version:
                raise VersionConflict(
                    f"{symbol} has version {found.version} and not {expected_version}; read it again",
                    version=str(found.version),
                )
            return replace(found, **changes)

        changed = await self._store.change(symbol, change)
        if changed is None:
            raise _not_found(symbol)
        await self._news.changed([changed])
        return changed


class DeleteSymbol:
    """Forget a symbol that is not active."""

    def __init__(self, store: SymbolStore, news: SymbolNews) -> None:
        self._store = store
        self._news = news

    async def __call__(self, symbol: str) -> None:
        if not await self._store.remove(symbol, _must_be_inactive):
            raise _not_found(symbol)
        await self._news.removed(symbol)


def _must_be_inactive(symbol: Symbol) -> None:
    if symbol.state is SymbolState.ACTIVE:
        raise SymbolActive(f"{symbol.symbol} is active; deactivate it first", symbol=symbol.symbol)


def _not_found(symbol: str) -> SymbolNotFound:
    return SymbolNotFound(f"symbol {symbol} is not known; ListSymbols lists them all", symbol=symbol)
