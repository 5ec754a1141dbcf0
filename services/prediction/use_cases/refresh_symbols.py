"""Which symbols there are."""

import asyncio
from datetime import datetime, timedelta

from services.prediction.ports import Market
from services.prediction.serving import Serving
from services.runtime.clock import Clock

_EVERY_SECONDS = 2.0
_STALE = timedelta(seconds=10)


class RefreshSymbols:
    """Asks marketdata for the symbols every other second, which shows too whether it is there."""

    def __init__(self, market: Market, serving: Serving, now: Clock, symbols: frozenset[str]) -> None:
        self._market = market
        self._serving = serving
        self._now = now
        self._symbols = symbols
        self._answered: datetime | None = None

    async def __call__(self) -> None:
        """Go on for ever; raises when marketdata is away."""
        while True:
            listed = await self._market.symbols()
            self._serving.list_symbols(listed & self._symbols if self._symbols else listed)
            self._answered = self._now()
            await asyncio.sleep(_EVERY_SECONDS)

    async def check(self) -> None:
        """Raise unless marketdata has answered lately."""
        if self._answered is None or self._now() - self._answered > _STALE:
            raise TimeoutError("marketdata does not answer")
