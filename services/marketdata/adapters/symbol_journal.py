"""News of symbols on the journal."""

import logging
from collections.abc import Sequence

from services.marketdata.converters import symbols as convert
from services.marketdata.domain.market import Symbol
from services.runtime.journal import Journal

_log = logging.getLogger(__name__)

SYMBOLS = "marketdata.symbols"
"""Topic of symbols: an event is the Symbol that is its key, as it is now; an empty one says that it is gone."""


class JournalSymbolNews:
    """Implements SymbolNews. What cannot be told is left out: replicas read the store again and again."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def changed(self, symbols: Sequence[Symbol]) -> None:
        await self._tell([(symbol.symbol, convert.symbol_to_pb(symbol).SerializeToString()) for symbol in symbols])

    async def removed(self, symbol: str) -> None:
        await self._tell([(symbol, b"")])

    async def _tell(self, events: Sequence[tuple[str, bytes]]) -> None:
        if not events:
            return
        try:
            await self._journal.append(SYMBOLS, events)
        except Exception as error:  # noqa: BLE001 - the change is stored; replicas come to know it a little later
            _log.warning("news of symbols not told", extra={"problem": repr(error)})
