"""The candles of the marketdata service."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import grpc

from levimesh.client.streams import resume
from levimesh.marketdata.v1 import candle_pb2, symbol_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from services.prediction import converters as convert
from services.prediction.domain.market import Candle
from services.prediction.ports import Backfill, Missed
from services.runtime import timestamps

if TYPE_CHECKING:
    from levimesh.marketdata.v1.marketdata_service_pb2_grpc import MarketDataServiceAsyncStub

_PAGE_SIZE = 500
"""So many candles are converted at a time, which takes some milliseconds."""


class GrpcMarket:
    """The market by gRPC."""

    def __init__(self, marketdata: "MarketDataServiceAsyncStub") -> None:
        self._marketdata = marketdata

    async def symbols(self) -> frozenset[str]:
        # Models are made of candles with volume, and of what trades day and night.
        wanted = pb.ListSymbolsRequest(asset_type=symbol_pb2.ASSET_TYPE_CRYPTO, state=symbol_pb2.SYMBOL_STATE_ACTIVE)
        response = await self._marketdata.ListSymbols(wanted)
        return frozenset(symbol.symbol for symbol in response.symbols)

    async def backfills(self) -> list[Backfill]:
        response = await self._marketdata.ListBackfills(pb.ListBackfillsRequest())
        return [
            convert.backfill_from_pb(backfill)
            for backfill in response.backfills
            if backfill.interval == candle_pb2.INTERVAL_5M
        ]

    async def candles(self, symbol: str, start: datetime) -> AsyncIterator[Sequence[Candle]]:
        request = pb.GetCandlesRequest(
            symbol=symbol,
            interval=candle_pb2.INTERVAL_5M,
            start_time=timestamps.to_pb(start),
            page_size=_PAGE_SIZE,
        )
        while True:
            response = await self._marketdata.GetCandles(request)
            yield [convert.candle_from_pb(candle) for candle in response.candles]
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def newest(self, symbol: str, count: int) -> Sequence[Candle]:
        request = pb.GetCandlesRequest(symbol=symbol, interval=candle_pb2.INTERVAL_5M, page_size=count)
        response = await self._marketdata.GetCandles(request)
        return [convert.candle_from_pb(candle) for candle in response.candles]

    async def live(self, symbols: frozenset[str]) -> AsyncIterator[Sequence[Candle] | Missed]:
        def open_stream(
            resume_token: str,
        ) -> grpc.aio.UnaryStreamCall[pb.StreamCandlesRequest, pb.StreamCandlesResponse]:
            return self._marketdata.StreamCandles(
                pb.StreamCandlesRequest(
                    symbols=sorted(symbols), interval=candle_pb2.INTERVAL_5M, resume_token=resume_token
                )
            )

        begun = False
        async for response in resume(open_stream):
            event = response.WhichOneof("event")
            if not begun or event == "gap":
                begun = True
                yield Missed()
            if event == "candles":
                yield [convert.candle_from_pb(candle) for candle in response.candles.candles]
