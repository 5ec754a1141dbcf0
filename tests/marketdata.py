"""The real marketdata service on a real database and Redis, over mTLS, fed by simex through ccxt."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from levimesh.marketdata.v1 import book_service_pb2, book_service_pb2_grpc, candle_pb2, trade_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc as pb_grpc
from services.marketdata.adapters.ccxt_source import open_ccxt_source
from services.marketdata.adapters.leases import PostgresLeases
from services.marketdata.adapters.trade_history import PostgresTradeHistory
from services.marketdata.bootstrap import Connections, MarketData, build
from services.marketdata.converters import market as convert
from services.marketdata.domain.market import Candle, Interval
from services.marketdata.domain.quarantine import Refused
from services.marketdata.ports.leases import Lease
from services.marketdata.ports.sources import Source
from services.marketdata.quarantine_parts import open_quarantine
from services.marketdata.settings import MarketDataSettings
from services.marketdata.sources import open_source
from services.runtime import decimals, timestamps
from services.runtime.database import open_database
from services.runtime.health import Health
from services.runtime.journal import open_journal
from services.simex.server import open_simex
from services.simex.settings import SimexSettings
from services.stack.ports import find_free
from tests.mesh import Served, a_token, bearing, serving

if TYPE_CHECKING:
    from levimesh.marketdata.v1.book_service_pb2_grpc import OrderBookServiceAsyncStub
    from levimesh.marketdata.v1.marketdata_service_pb2_grpc import MarketDataServiceAsyncStub

SERVICE = pb.DESCRIPTOR.services_by_name["MarketDataService"]
BOOKS = book_service_pb2.DESCRIPTOR.services_by_name["OrderBookService"]
BTC, ETH = "BTC-USDT@simex", "ETH-USDT@simex"
MINUTE, FIVE = Interval.ONE_MINUTE, Interval.FIVE_MINUTES
INTERVAL_1M, INTERVAL_5M = candle_pb2.INTERVAL_1M, candle_pb2.INTERVAL_5M
MARKET_TIME = datetime(2024, 3, 5, 10, 2, 30, tzinfo=UTC)
"""When the tests begin by the exchange's clock, which need not be ours: in the middle of both intervals."""


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what other processes do sets no event here
            await asyncio.sleep(0.02)


class HandClock:
    """A clock of an exchange that moves when it is told to."""

    speed = 1.0

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now_ms(self) -> int:
        return int(self.moment.timestamp() * 1000)

    def advance(self, seconds: int) -> None:
        self.moment += timedelta(seconds=seconds)


@dataclass
class Exchange:
    """A simex whose clock a test moves by hand; it can be stopped and started again at the same address."""

    folder: Path
    port: int
    clock: HandClock

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def now(self) -> datetime:
        return self.clock.moment

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The exchange answers meanwhile."""
        settings = SimexSettings(port=self.port, history_days=2, tick_seconds=0.02, state_dir=self.folder)
        async with open_simex(settings, self.clock):
            yield

    async def goes_on_for(self, seconds: int, step: int = 20) -> None:
        """Let ``seconds`` of its time pass, some at once."""
        for _ in range(0, seconds, step):
            self.clock.advance(step)
            await asyncio.sleep(0.03)


@dataclass
class RefusedRows:
    """Implements Quarantine in memory."""

    rows: list[Refused] = field(default_factory=list)

    def put(self, row: Refused) -> None:
        self.rows.append(row)


@dataclass(frozen=True)
class Running:
    """A marketdata service and how to call it."""

    marketdata: MarketData
    served: Served
    health: Health
    stub: "MarketDataServiceAsyncStub"
    books: "OrderBookServiceAsyncStub"
    metadata: tuple[tuple[str, str], ...]
    tasks: Sequence["asyncio.Future[None]"] = ()
    """Its background work."""

    async def candles(
        self, symbol: str, interval: "candle_pb2.Interval.ValueType", start: datetime, end: datetime
    ) -> list[candle_pb2.Candle]:
        """The stored candles that open in [start, end)."""
        request = pb.GetCandlesRequest(
            symbol=symbol,
            interval=interval,
            start_time=timestamps.to_pb(start),
            end_time=timestamps.to_pb(end),
            page_size=10_000,
        )
        return list((await self.stub.GetCandles(request, metadata=self.metadata)).candles)

    async def ticker(self, symbol: str) -> trade_pb2.Ticker:
        """The ticker of a symbol."""
        return (await self.stub.GetTicker(pb.GetTickerRequest(symbol=symbol), metadata=self.metadata)).ticker

    async def backfills(self) -> Sequence[candle_pb2.Backfill]:
        """How far the histories are."""
        return (await self.stub.ListBackfills(pb.ListBackfillsRequest(), metadata=self.metadata)).backfills

    async def has_history(self) -> Sequence[candle_pb2.Backfill]:
        """Wait until all history is stored."""

        async def is_complete() -> bool:
            backfills = await self.backfills()
            return len(backfills) == 4 and all(backfill.complete for backfill in backfills)

        await until(is_complete)
        return await self.backfills()

    async def becomes(self, part: str, *, holds: bool) -> None:
        """Wait until a part of the health holds, or does not."""

        async def has_become() -> bool:
            return (part not in self.health.problems) == holds

        await until(has_become)

    async def has_candle(self, symbol: str, interval: "candle_pb2.Interval.ValueType", open_time: datetime) -> None:
        """Wait until that candle is stored."""

        async def is_stored() -> bool:
            return bool(await self.candles(symbol, interval, open_time, open_time + timedelta(seconds=1)))

        await until(is_stored)

    async def has_candles(
        self,
        symbol: str,
        interval: "candle_pb2.Interval.ValueType",
        start: datetime,
        end: datetime,
        expected: Sequence[tuple[Any, ...]],
    ) -> None:
        """Wait until the stored candles that open in [start, end) have these values."""

        async def are_stored() -> bool:
            return [values_of(candle) for candle in await self.candles(symbol, interval, start, end)] == list(expected)

        await until(are_stored)

    async def has_traded(self, symbol: str, exchange: Exchange) -> None:
        """Let the exchange go on until trades arrive."""
        stream = aiter(self.stub.StreamTrades(pb.StreamTradesRequest(symbols=[symbol]), metadata=self.metadata))
        assert (await anext(stream)).HasField("heartbeat")
        arrival = asyncio.ensure_future(anext(stream))
        while not arrival.done():
            await exchange.goes_on_for(20)
        assert {trade.symbol for trade in arrival.result().trades.trades} == {symbol}

    async def token(self, interval: "candle_pb2.Interval.ValueType") -> str:
        """Where the stream of candles is now."""
        request = pb.StreamCandlesRequest(interval=interval)
        return (await anext(aiter(self.stub.StreamCandles(request, metadata=self.metadata)))).resume_token

    async def next_candles(
        self, interval: "candle_pb2.Interval.ValueType", symbol: str, count: int, token: str
    ) -> list[candle_pb2.Candle]:
        """The candles that follow the token in the stream."""
        candles: list[candle_pb2.Candle] = []
        request = pb.StreamCandlesRequest(symbols=[symbol], interval=interval, resume_token=token)
        async with asyncio.timeout(20):
            async for message in self.stub.StreamCandles(request, metadata=self.metadata):
                assert not message.HasField("gap")
                candles += message.candles.candles
                if len(candles) >= count:
                    break
        return candles[:count]


@dataclass(frozen=True)
class World:
    """The surroundings of marketdata services: they outlive a service that is stopped and started again."""

    database_url: str
    redis_url: str
    certificates: Path
    exchange: Exchange

    def settings(self, **settings: Any) -> MarketDataSettings:
        """Settings of a service in this world."""
        folder = self.certificates / "marketdata"
        values: dict[str, Any] = {
            "port": 0,
            "tls_certificate": folder / "certificate.pem",
            "tls_private_key": folder / "private_key.pem",
            "tls_trust_bundle": self.certificates / "ca.pem",
            "database_url": self.database_url,
            "redis_url": self.redis_url,
            "base_url": self.exchange.url,
            "history_1m_days": 1,
            "history_5m_days": 3,
            "settle_seconds": 0.2,
            **settings,
        }
        return MarketDataSettings(**values)

    @asynccontextmanager
    async def source(self, **settings: Any) -> AsyncIterator[Source]:
        """The exchange through ccxt, as the service sees it."""
        values = self.settings(**settings)
        async with open_ccxt_source(values.first_source(), RefusedRows(), values.retention()) as source:
            yield source

    @asynccontextmanager
    async def marketdata(
        self, *, without: Sequence[str] = (), abandoned: bool = False, **settings: Any
    ) -> AsyncIterator[Running]:
        """A running replica, whose background work goes on except what is named in ``without``.

        One that is ``abandoned`` releases no lease when it ends, as if it had been killed.
        """
        values = self.settings(**settings)
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(open_database(values.database_url))
            journal = await stack.enter_async_context(open_journal(values.redis_url))
            quarantine = open_quarantine(engine)
            history = PostgresTradeHistory(engine)
            sources = [
                await stack.enter_async_context(open_source(source, quarantine, values.retention(), history))
                for source in values.all_sources()
            ]
            own = await stack.enter_async_context(open_database(values.database_url, pool_size=2))
            leases = AbandonedLeases(own) if abandoned else PostgresLeases(own)
            health = Health()
            marketdata = build(values, Connections(engine, leases, journal), sources, quarantine, health)
            served = await stack.enter_async_context(
                serving(dict(marketdata.services), self.certificates, workload="marketdata")
            )
            tasks = [asyncio.ensure_future(work()) for name, work in marketdata.work.items() if name not in without]
            try:
                stub = pb_grpc.MarketDataServiceStub(served.channel(SERVICE))
                books = book_service_pb2_grpc.OrderBookServiceStub(served.channel(BOOKS))
                yield Running(marketdata, served, health, stub, books, bearing(a_token("ROLE_VIEWER")), tasks)
            finally:
                failed = [task for task in tasks if task.done() and not task.cancelled()]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for task in failed:
                task.result()


class AbandonedLeases(PostgresLeases):
    """Leases that are not released: they expire."""

    async def release(self, lease: Lease) -> None:
        """Nobody comes to do it."""


def values_of(candle: candle_pb2.Candle | Candle) -> tuple[Any, ...]:
    """What two candles have to agree in."""
    message = convert.candle_to_pb(candle) if isinstance(candle, Candle) else candle
    numbers = (message.open, message.high, message.low, message.close, message.volume)
    return (message.symbol, timestamps.from_pb(message.open_time), *map(decimals.from_pb, numbers))


def a_world(database_url: str, redis_url: str, certificates: Path, folder: Path) -> World:
    """A world whose exchange keeps its state in ``folder``, at MARKET_TIME."""
    exchange = Exchange(folder, find_free(1, first=20_000 + secrets.randbelow(5_000))[0], HandClock(MARKET_TIME))
    return World(database_url, redis_url, certificates, exchange)
