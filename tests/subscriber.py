"""Somebody who follows market data through the gateway, and remembers all that it was told."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from levimesh.client.client import OnGap
from levimesh.common.v1 import streaming_pb2
from levimesh.marketdata.v1 import candle_pb2, marketdata_service_pb2, stream_pb2, trade_pb2


class MarketData(Protocol):
    """Opens a stream, as ``Client.market_data`` does."""

    def __call__(
        self, instruments: Sequence[stream_pb2.Instrument], *, on_gap: OnGap
    ) -> AsyncGenerator[marketdata_service_pb2.StreamMarketDataResponse, None]: ...


Told = trade_pb2.Trade | candle_pb2.Candle


@dataclass
class Subscriber:
    """The trades and the candles of a minute of some symbols, as they were told."""

    trades: dict[str, list[trade_pb2.Trade | None]] = field(default_factory=lambda: defaultdict(list))
    """By symbol, with None where the stream said that some were lost."""
    candles: dict[str, list[candle_pb2.Candle | None]] = field(default_factory=lambda: defaultdict(list))
    subscribed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def trade_count(self) -> int:
        """How many trades of all symbols it was told, with those that it was told are lost."""
        newest = (next((each for each in reversed(told) if each), None) for told in self.trades.values())
        return sum(trade.sequence for trade in newest if trade is not None)

    async def follow(self, market_data: MarketData, symbols: Sequence[str]) -> None:
        """Listen for ever."""
        wanted = [
            stream_pb2.Instrument(channel=channel, symbol=symbol, interval=interval)
            for symbol in symbols
            for channel, interval in (
                (stream_pb2.CHANNEL_TRADES, candle_pb2.INTERVAL_UNSPECIFIED),
                (stream_pb2.CHANNEL_CANDLES, candle_pb2.INTERVAL_1M),
            )
        ]

        def lose(gap: streaming_pb2.Gap) -> None:
            for symbol in symbols:
                self.trades[symbol].append(None)
                self.candles[symbol].append(None)

        async with aclosing(market_data(wanted, on_gap=lose)) as messages:
            async for message in messages:
                for result in message.results.results:
                    assert result.status == stream_pb2.SUBSCRIPTION_STATUS_SUBSCRIBED, result
                    self.subscribed.set()
                for trade in message.trades.trades:
                    self.trades[trade.symbol].append(trade)
                for candle in message.candles.candles:
                    self.candles[candle.symbol].append(candle)


@asynccontextmanager
async def subscribed(market_data: MarketData, symbols: Sequence[str]) -> AsyncIterator[Subscriber]:
    """A subscriber that listens meanwhile to the stream that ``market_data`` opens."""
    subscriber = Subscriber()
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(subscriber.follow(market_data, symbols))
        async with asyncio.timeout(60):
            await subscriber.subscribed.wait()
        yield subscriber
        listening.cancel()


def assert_each_once(told: Sequence[Told | None]) -> None:
    """From the first on each sequence comes once and in order; none is left out without a word."""
    newest, lost = 0, True
    for each in told:
        if each is None:
            lost = True
            continue
        assert each.sequence > newest, f"{each.sequence} comes after {newest}"
        assert each.sequence == newest + 1 or lost, f"{each.sequence} comes after {newest}, and nothing was said"
        newest, lost = each.sequence, False
