"""The sources, and how they are."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import AssetType, SourceKind, SymbolState
from services.marketdata.domain.source_status import SourceState, SourceStatus
from services.marketdata.ports.source_states import Led, SourceStates


@dataclass(frozen=True)
class ListedSource:
    """A source that the settings name."""

    name: str
    kind: SourceKind
    asset_type: AssetType
    leader: str
    """The replica that gathers its data; empty while none does."""
    symbols: int
    """How many active symbols it has."""
    status: SourceStatus


class ListSources:
    """Tell how the sources are, as their leaders have told it."""

    def __init__(
        self, sources: Mapping[str, tuple[SourceKind, AssetType]], states: SourceStates, catalog: Catalog
    ) -> None:
        self._sources = sources
        self._states = states
        self._catalog = catalog

    async def __call__(self) -> list[ListedSource]:
        led = await self._states.all()
        return [
            ListedSource(name, kind, asset_type, *self._how_it_is(name, led.get(name)))
            for name, (kind, asset_type) in sorted(self._sources.items())
        ]

    def _how_it_is(self, name: str, led: Led | None) -> tuple[str, int, SourceStatus]:
        symbols = sum(symbol.source == name and symbol.state is SymbolState.ACTIVE for symbol in self._catalog.all())
        if led is None or not led.leader:
            return "", symbols, SourceStatus(SourceState.DOWN, "no replica gathers its data; one will within seconds")
        return led.leader, symbols, led.status or SourceStatus(SourceState.CONNECTING)
