"""Keeps the catalog of a replica as the symbols are stored."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Symbol
from services.marketdata.ports.symbols import SymbolNews, SymbolStore

_log = logging.getLogger(__name__)

_READ_SECONDS = 5.0
"""How often the symbols are read when nothing was heard of them."""


class CatalogFollower:
    """Reads the symbols whenever somebody says that one has changed, and every few seconds in case nobody could."""

    def __init__(self, catalog: Catalog, store: SymbolStore, news: SymbolNews) -> None:
        self._catalog = catalog
        self._store = store
        self._news = news
        self._heard = asyncio.Event()

    def hear(self, _: object) -> None:
        """A symbol has changed."""
        self._heard.set()

    async def read(self) -> None:
        """Take in what is stored by now."""
        self._catalog.replace(await self._store.symbols())

    async def report(self, symbols: Sequence[Symbol]) -> None:
        """Store what a source reports of its markets, and tell all replicas what is new in it."""
        before = {symbol.symbol: symbol for symbol in await self._store.symbols()}
        await self._store.put_reported(symbols)
        await self.read()
        await self._news.changed([symbol for symbol in self._catalog.all() if before.get(symbol.symbol) != symbol])

    async def run(self) -> None:
        """Follow the symbols for ever."""
        while True:
            self._heard.clear()
            try:
                await self.read()
            except Exception as error:  # noqa: BLE001 - what is known is served on, and read again a little later
                _log.warning("symbols not read", extra={"problem": repr(error)})
            with suppress(TimeoutError):
                async with asyncio.timeout(_READ_SECONDS):
                    await self._heard.wait()
