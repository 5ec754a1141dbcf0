"""What a replica knows of live data, and the channels that deliver it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from levimesh.common.v1 import streaming_pb2
from services.marketdata.catalog import Catalog
from services.marketdata.converters import streams as convert
from services.marketdata.domain.book import BookSnapshot
from services.marketdata.domain.instruments import Instrument, Subscribed
from services.marketdata.domain.market import Channel as Kind
from services.marketdata.domain.market import Interval
from services.marketdata.errors import SymbolNotFound
from services.marketdata.streams.channels import BookChannel, Channel, LineChannel
from services.marketdata.streams.derived import (
    IndicatorChannel,
    LiveIndicators,
    TickerChannel,
    Tickers,
)
from services.marketdata.streams.forming import FormingChannel, LiveForming
from services.runtime.bell import Bell
from services.runtime.broadcast import Broadcast

SlowReader: TypeAlias = "streaming_pb2.SlowReader.ValueType"
Place = tuple[Kind, Interval | None, bool]
"""What instruments of the same channel have in common; the last part is whether it is the one for forming candles."""


@dataclass(frozen=True)
class Live:
    """The live data of a replica."""

    catalog: Catalog
    trades: Broadcast
    candles: Mapping[Interval, Broadcast]
    books: Broadcast
    book: Callable[[str], BookSnapshot]
    """Tells the book of a symbol; see Books.snapshot."""
    tickers: Tickers
    forming: LiveForming
    indicators: LiveIndicators

    def refusal(self, instrument: Instrument) -> Subscribed | None:
        """Why ``instrument`` cannot be delivered, if so."""
        try:
            symbol = self.catalog.get(instrument.symbol)
        except SymbolNotFound:
            return Subscribed.SYMBOL_NOT_FOUND
        if instrument.channel is Kind.BOOKS and not symbol.book_depth:
            return Subscribed.BOOK_NOT_FOLLOWED
        return None

    async def open(self, place: Place, slow_reader: SlowReader, bell: Bell) -> Channel:
        """A channel without instruments, at the newest event. Raises DependencyUnavailable."""
        match place:
            case (Kind.TRADES, _, _):
                return await LineChannel.open("t", self.trades, slow_reader, bell, convert.pack_trades)
            case (Kind.BOOKS, _, _):
                books = await BookChannel.open("b", self.books, slow_reader, bell, convert.pack_books)
                books.snapshot = self.book
                return books
            case (Kind.TICKERS, _, _):
                return _ringing(TickerChannel(self.tickers, self.trades), bell)
            case (Kind.CANDLES, Interval() as interval, False):
                name = f"c{interval.value}"
                return await LineChannel.open(name, self.candles[interval], slow_reader, bell, convert.pack_candles)
            case (Kind.CANDLES, Interval() as interval, True):
                return _ringing(FormingChannel(self.forming, interval, convert.candles_payload), bell)
            case (Kind.INDICATORS, Interval() as interval, _):
                return await self._indicators(interval, slow_reader, bell)
        raise ValueError(f"no channel for {place}")

    async def _indicators(self, interval: Interval, slow_reader: SlowReader, bell: Bell) -> Channel:
        name = f"i{interval.value}"
        channel = await IndicatorChannel.open(name, self.candles[interval], slow_reader, bell, convert.pack_candles)
        channel.live, channel.interval = self.indicators, interval
        return channel


def _ringing(channel: Channel, bell: Bell) -> Channel:
    channel.ring(bell)
    return channel


RESUMABLE = frozenset({"t", "b", *(f"{kind}{interval.value}" for kind in "ci" for interval in Interval)})
"""The names of the channels that resume tokens know."""


def places(instrument: Instrument) -> list[Place]:
    """The channels that deliver ``instrument``."""
    found: list[Place] = [(instrument.channel, instrument.interval, False)]
    if instrument.include_forming:
        found.append((instrument.channel, instrument.interval, True))
    return found
