"""The streams of marketdata over mTLS on a real journal, which a test fills by itself."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import SecretStr

from levimesh.marketdata.v1 import book_pb2, stream_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc as pb_grpc
from services.marketdata.adapters.book_journal import BOOKS
from services.marketdata.adapters.journal import CANDLES, TRADES, trade_listener
from services.marketdata.catalog import Catalog
from services.marketdata.converters import books as book_converters
from services.marketdata.converters import market as convert
from services.marketdata.domain.book import BookChange, BookDelta, BookSnapshot, Level
from services.marketdata.domain.market import Candle, Interval, Origin, Symbol, TakerSide, Trade
from services.marketdata.domain.ticker import TickerBoard
from services.marketdata.errors import BookNotAvailable
from services.marketdata.servicers.marketdata import MarketDataServicer
from services.marketdata.servicers.streams import Streams
from services.marketdata.streams.derived import LiveIndicators, Tickers
from services.marketdata.streams.forming import LiveForming
from services.marketdata.streams.live import Live
from services.marketdata.streams.marks import Marks
from services.marketdata.use_cases.indicators import GetIndicators
from services.runtime.broadcast import Broadcast
from services.runtime.journal import RedisJournal, open_journal
from tests.mesh import Served, a_token, bearing, serving

if TYPE_CHECKING:
    from levimesh.marketdata.v1.marketdata_service_pb2_grpc import MarketDataServiceAsyncStub

SERVICE = pb.DESCRIPTOR.services_by_name["MarketDataService"]
BTC, ETH, QUIET = "BTC-USDT@simex", "ETH-USDT@simex", "DOGE-USDT@simex"
START = datetime(2024, 8, 9, tzinfo=UTC)
MINUTE = Interval.ONE_MINUTE


def a_symbol(symbol: str, book_depth: int) -> Symbol:
    base, _, rest = symbol.partition("-")
    quote, _, source = rest.partition("@")
    step = Decimal("0.01")
    return Symbol(symbol, base, quote, source, f"{base}/{quote}", step, step, Decimal(5), book_depth=book_depth)


def a_trade(sequence: int, symbol: str = BTC, *, price: str = "60000", trade_id: str = "") -> Trade:
    """The trade number ``sequence`` of a symbol, one each second."""
    moment = START + timedelta(seconds=sequence)
    name = trade_id or str(sequence)
    return Trade(symbol, name, Decimal(price), Decimal(1), TakerSide.BUY, moment, moment, sequence)


def a_candle(number: int, symbol: str = BTC, *, close: str = "60000", revision: int = 0, sequence: int = 0) -> Candle:
    """The complete one-minute candle number ``number`` of a symbol."""
    price, open_time = Decimal(close), START + (number - 1) * MINUTE.length
    prices = (price, price, price, price)
    return Candle(symbol, MINUTE, open_time, *prices, Decimal(1), Origin.TRADES, revision, sequence or number)


def a_delta(sequence: int, symbol: str = BTC) -> BookDelta:
    levels = (Level(Decimal(60_000), Decimal(sequence)),)
    return BookDelta(symbol, sequence, sequence, levels, (), START, START, sequence)


def a_book(sequence: int, symbol: str = BTC) -> BookSnapshot:
    bids, asks = (Level(Decimal(60_000), Decimal(sequence)),), (Level(Decimal(60_001), Decimal(1)),)
    return BookSnapshot(symbol, sequence, bids, asks, START, START, sequence=sequence)


class StoredCandles:
    """Implements CandleReader in memory."""

    def __init__(self) -> None:
        self.all: dict[tuple[str, Interval, datetime], Candle] = {}
        self.reads = 0

    async def candles(
        self, symbol: str, interval: Interval, start: datetime | None, end: datetime | None, limit: int
    ) -> Sequence[Candle]:
        self.reads += 1
        found = [
            candle
            for place, candle in sorted(self.all.items(), key=lambda item: item[0][2])
            if place[:2] == (symbol, interval)
            and (start is None or start <= candle.open_time)
            and (end is None or candle.open_time < end)
        ]
        return found[:limit]

    async def newest_candles(
        self, symbol: str, interval: Interval, limit: int, end: datetime | None = None
    ) -> Sequence[Candle]:
        return (await self.candles(symbol, interval, None, end, len(self.all)))[-limit:]


class StoredTrades:
    """Implements TradeHistory in memory."""

    def __init__(self) -> None:
        self.all: list[Trade] = []

    async def between(
        self, symbol: str, start: datetime | None, end: datetime | None, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Trade]:
        found = [
            trade
            for trade in sorted(self.all, key=lambda trade: (trade.trade_time, trade.trade_id))
            if trade.symbol == symbol
            and (start is None or start <= trade.trade_time)
            and (end is None or trade.trade_time < end)
            and (after is None or (trade.trade_time, trade.trade_id) > after)
        ]
        return found[:limit]

    async def newest(self, symbol: str, limit: int) -> Sequence[Trade]:
        return (await self.between(symbol, None, None, None, len(self.all)))[-limit:]


@dataclass
class Replica:
    """A running service, and how to call it."""

    served: Served
    stub: "MarketDataServiceAsyncStub"
    broadcasts: dict[str, Broadcast]
    reading: list["asyncio.Task[None]"] = field(default_factory=list)
    metadata: tuple[tuple[str, str], ...] = bearing(a_token("ROLE_VIEWER"))

    def open(self, *requests: pb.MarketDataStreamRequest) -> "Conversation":
        """A stream that begins with ``requests``."""
        return Conversation(self.stub.MarketDataStream(metadata=self.metadata), list(requests))

    async def stops_reading(self) -> None:
        """The journal is read no more."""
        for task in self.reading:
            task.cancel()
        await asyncio.wait(self.reading)

    def reads_again(self) -> None:
        """The journal is read again."""
        self.reading = [asyncio.create_task(broadcast.run()) for broadcast in self.broadcasts.values()]


class Conversation:
    """An open MarketDataStream."""

    def __init__(self, call: Any, first: list[pb.MarketDataStreamRequest]) -> None:
        self.call = call
        self._first = first
        self.token = ""

    async def say(self, request: pb.MarketDataStreamRequest) -> None:
        await self.call.write(request)

    async def next(self, *, heartbeats: bool = False) -> pb.MarketDataStreamResponse:
        """The next message that is no heartbeat."""
        while self._first:
            await self.say(self._first.pop(0))
        async with asyncio.timeout(10):
            while True:
                message: pb.MarketDataStreamResponse = await self.call.read()
                assert isinstance(message, pb.MarketDataStreamResponse), "the stream has ended"
                self.token = message.resume_token
                if heartbeats or not message.HasField("heartbeat"):
                    return message

    async def statuses(self) -> list[str]:
        """What became of the instruments of a request, whose result is the next message."""
        message = await self.next()
        assert message.HasField("results"), message
        prefix = "SUBSCRIPTION_STATUS_"
        return [stream_pb2.SubscriptionStatus.Name(r.status).removeprefix(prefix) for r in message.results.results]

    async def trades(self, count: int) -> list[int]:
        """The sequences of the next ``count`` trades, which come next."""
        found: list[int] = []
        while len(found) < count:
            message = await self.next()
            assert message.HasField("trades"), message
            found += [trade.sequence for trade in message.trades.trades]
        return found

    def leave(self) -> None:
        self.call.cancel()


class _Candles:
    """Of the queries, the one that has to do with forming candles."""

    def __init__(self, catalog: Catalog, stored: StoredCandles) -> None:
        self._catalog = catalog
        self._stored = stored

    async def candles(self, request: pb.GetCandlesRequest) -> pb.GetCandlesResponse:
        self._catalog.require(request.symbol)
        found = await self._stored.newest_candles(request.symbol, convert.interval_from_pb(request.interval), 500)
        return convert.candles_page_to_pb(found, "")


@dataclass
class LiveWorld:
    """What outlives a replica: the journal, and what is stored."""

    redis_url: str
    certificates: Path
    journal: RedisJournal
    stored: StoredCandles = field(default_factory=StoredCandles)
    history: StoredTrades = field(default_factory=StoredTrades)
    books: dict[str, BookSnapshot] = field(default_factory=dict)
    """What the replica knows of books."""

    async def trade(self, *trades: Trade) -> None:
        """Store trades, and publish each in an event of its own."""
        self.history.all += trades
        events = [(trade.symbol, convert.trades_to_pb([trade]).SerializeToString()) for trade in trades]
        await self.journal.append(TRADES, events)

    async def complete(self, *candles: Candle) -> None:
        """Store and publish candles."""
        for candle in candles:
            place = candle.symbol, candle.interval, candle.open_time
            self.stored.all[place] = candle
            event = convert.candle_to_pb(candle).SerializeToString()
            await self.journal.append(CANDLES[candle.interval], [(candle.symbol, event)])

    async def change_book(self, *events: BookChange) -> None:
        """Publish events of books, all in one."""
        batch = book_pb2.BookBatch(events=map(book_converters.event_to_pb, events))
        await self.journal.append(BOOKS, [(events[0].symbol, batch.SerializeToString())])

    def book(self, symbol: str) -> BookSnapshot:
        if symbol not in self.books:
            raise BookNotAvailable("not now", symbol=symbol)
        return self.books[symbol]

    @asynccontextmanager
    async def replica(self, *, capacity: int = 10_000, **options: Any) -> AsyncIterator[Replica]:
        """A replica whose rings hold ``capacity`` events."""
        catalog, board = Catalog(), TickerBoard()
        catalog.add([a_symbol(BTC, 10), a_symbol(ETH, 10), a_symbol(QUIET, 0)])
        trades, books = (Broadcast(self.journal, topic, capacity=capacity) for topic in (TRADES, BOOKS))
        candles = {interval: Broadcast(self.journal, topic, capacity=capacity) for interval, topic in CANDLES.items()}
        trades.listen(trade_listener(board.add_trade))
        marks, get_indicators = Marks(trades), GetIndicators(catalog, self.stored)
        live = Live(
            catalog,
            trades,
            candles,
            books,
            self.book,
            Tickers(board, marks),
            LiveForming(marks, trades, candles, self.history, self.stored),
            LiveIndicators(get_indicators),
        )
        # What streams have nothing to do with is not there.
        servicer = MarketDataServicer(cast("Any", _Candles(catalog, self.stored)), get_indicators, Streams(live))
        broadcasts = {"trades": trades, "books": books, **{str(i.value): b for i, b in candles.items()}}
        async with serving({SERVICE: servicer}, self.certificates, workload="marketdata", **options) as served:
            replica = Replica(served, pb_grpc.MarketDataServiceStub(served.channel(SERVICE)), broadcasts)
            replica.reads_again()
            try:
                yield replica
            finally:
                await replica.stops_reading()


@asynccontextmanager
async def a_live_world(redis_url: str, certificates: Path) -> AsyncIterator[LiveWorld]:
    """A world on the Redis at ``redis_url``."""
    async with open_journal(SecretStr(redis_url)) as journal:
        yield LiveWorld(redis_url, certificates, journal)
