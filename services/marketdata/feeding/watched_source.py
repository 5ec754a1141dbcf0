"""A source of which it is known when it was last heard of, and that is not asked again and again while it fails."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta

from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OPENED, OpenedState
from purgatory.service._async.circuitbreaker import AsyncCircuitBreaker

from services.marketdata.domain.book import BookChange
from services.marketdata.domain.market import AssetType, Candle, Channel, Interval, SourceKind, Symbol, Trade
from services.marketdata.domain.sequence import Step
from services.marketdata.ports.sources import Source, SourceFinished, SourceUnavailable
from services.runtime.clock import Clock

_log = logging.getLogger(__name__)

_MOST_FAILURES = 10
"""So many requests in a row that fail stop all requests for a while."""
_OPEN_SECONDS = 5.0


class WatchedSource:
    """Implements Source by another one.

    Requests (not what waits for live data) go through a circuit breaker: after many failures in a row they fail at once
    for a while, with the problem of the last one. Whatever else a source raises is SourceUnavailable, too: an answer
    that nobody foresaw must not end what is done for its other markets.
    """

    def __init__(self, source: Source, now: Clock) -> None:
        self._source = source
        self._now = now
        self._breakers = AsyncCircuitBreakerFactory(
            _MOST_FAILURES, _OPEN_SECONDS, exclude=[asyncio.CancelledError, SourceFinished]
        )
        self._breaker: AsyncCircuitBreaker | None = None
        self._problem = ""
        self.last_message_time: datetime | None = None
        """When something last came from it, by our clock."""
        self.latency: timedelta | None = None
        """The newest time between a trade at the source and its arrival here."""
        self._heard_at = 0.0
        self.heard()

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def kind(self) -> SourceKind:
        return self._source.kind

    @property
    def asset_type(self) -> AssetType:
        return self._source.asset_type

    @property
    def channels(self) -> frozenset[Channel]:
        return self._source.channels

    @property
    def intervals(self) -> frozenset[Interval]:
        return self._source.intervals

    @property
    def circuit_open(self) -> bool:
        """Whether requests are stopped for a while."""
        return self._breaker is not None and self._breaker.context.state == OPENED

    @property
    def silent_for(self) -> float:
        """Seconds since something came from it, or since it was connected anew."""
        return asyncio.get_running_loop().time() - self._heard_at

    def heard(self) -> None:
        """Count the silence from now on."""
        self._heard_at = asyncio.get_running_loop().time()

    async def reconnect(self) -> None:
        self.heard()
        with self._foreseen():
            await self._source.reconnect()

    async def symbols(self) -> list[Symbol]:
        async with self._request():
            return await self._source.symbols()

    async def market(self, symbol: str, source_symbol: str) -> Symbol | None:
        async with self._request():
            return await self._source.market(symbol, source_symbol)

    async def now(self) -> datetime:
        async with self._request():
            return await self._source.now()

    async def candles(self, symbol: Symbol, interval: Interval, start: datetime) -> list[Candle]:
        async with self._request():
            return await self._source.candles(symbol, interval, start)

    async def past_trades(self, symbol: Symbol, after: Trade | None, start: datetime) -> Sequence[Trade]:
        async with self._request():
            return await self._source.past_trades(symbol, after, start)

    async def trades(self, symbol: Symbol) -> list[Step]:
        with self._foreseen():
            steps = await self._source.trades(symbol)
        self._answered()
        newest = next((step for step in reversed(steps) if isinstance(step, Trade)), None)
        if newest is not None:
            self.latency = newest.receive_time - newest.trade_time
        return steps

    async def book(self, symbol: Symbol) -> list[BookChange]:
        with self._foreseen():
            changes = await self._source.book(symbol)
        self._answered()
        return changes

    async def resync_book(self, symbol: Symbol) -> None:
        with self._foreseen():
            await self._source.resync_book(symbol)

    @asynccontextmanager
    async def _request(self) -> AsyncIterator[None]:
        if self._breaker is None:
            self._breaker = await self._breakers.get_breaker(self.name)
        try:
            async with self._breaker:
                with self._foreseen():
                    yield
        except OpenedState as error:
            raise SourceUnavailable(f"{self._problem}; requests are stopped for a few seconds") from error
        except SourceUnavailable as error:
            self._problem = str(error)
            raise
        self._answered()

    @contextmanager
    def _foreseen(self) -> Iterator[None]:
        try:
            yield
        except SourceUnavailable:
            raise
        except Exception as error:
            _log.exception("a source failed in an unforeseen way", extra={"source": self.name})
            raise SourceUnavailable(
                f"{self.name} answered in an unforeseen way ({type(error).__name__}); the log of marketdata has more"
            ) from error

    def _answered(self) -> None:
        self.heard()
        self.last_message_time = self._now()
