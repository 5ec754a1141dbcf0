"""All channels of one stream from a real service that follows a real exchange."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from levimesh.marketdata.v1 import candle_pb2, indicator_pb2, stream_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from tests.live import Conversation
from tests.marketdata import BTC, World, a_world

SMA = indicator_pb2.Indicator(kind=indicator_pb2.INDICATOR_KIND_SMA)
INSTRUMENTS = [
    stream_pb2.Instrument(channel=stream_pb2.CHANNEL_TRADES, symbol=BTC),
    stream_pb2.Instrument(
        channel=stream_pb2.CHANNEL_CANDLES, symbol=BTC, interval=candle_pb2.INTERVAL_1M, include_forming=True
    ),
    stream_pb2.Instrument(channel=stream_pb2.CHANNEL_BOOKS, symbol=BTC),
    stream_pb2.Instrument(channel=stream_pb2.CHANNEL_TICKERS, symbol=BTC),
    stream_pb2.Instrument(
        channel=stream_pb2.CHANNEL_INDICATORS, symbol=BTC, interval=candle_pb2.INTERVAL_1M, indicator=SMA
    ),
]


@pytest.fixture
def world(database_url: Callable[[str], str], redis_url: str, certificates: Path, tmp_path: Path) -> World:
    return a_world(database_url("marketdata"), redis_url, certificates, tmp_path)


async def test_every_channel_delivers_what_the_exchange_tells(world: World) -> None:
    async with world.exchange.running(), world.marketdata() as service:
        await service.has_history()
        subscription = pb.Subscribe(instruments=INSTRUMENTS)
        stream = Conversation(
            service.stub.MarketDataStream(metadata=service.metadata),
            [pb.MarketDataStreamRequest(subscribe=subscription)],
        )
        assert await stream.statuses() == ["SUBSCRIBED"] * len(INSTRUMENTS)
        seen: set[str] = set()
        states: set[int] = set()
        sequences: dict[str, list[int]] = {"trades": [], "books": []}
        while seen != {"trades", "candles", "books", "tickers", "indicators"} or len(states) < 2:
            arrival = asyncio.ensure_future(stream.next())
            while not arrival.done():
                await world.exchange.goes_on_for(20)
            message = arrival.result()
            seen.add(message.WhichOneof("event") or "")
            assert not message.HasField("gap")
            states |= {candle.state for candle in message.candles.candles}
            sequences["trades"] += [trade.sequence for trade in message.trades.trades]
            sequences["books"] += [event.sequence for event in message.books.events]
            for series in message.indicators.series:
                assert series.indicator.period == 20
                assert all(point.values["sma"] > 0 for point in series.points)
        for found in sequences.values():
            assert found == list(range(found[0], found[0] + len(found)))
        stream.leave()
