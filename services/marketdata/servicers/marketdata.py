"""The MarketDataService of the contract."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import grpc

from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc as pb_grpc
from services.marketdata import converters as convert
from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Interval
from services.marketdata.servicers.queries import Queries
from services.runtime.broadcast import Broadcast
from services.runtime.streaming import stream_responses

Context = grpc.aio.ServicerContext[Any, Any]


class MarketDataServicer(pb_grpc.MarketDataServiceServicer):
    """Wire in, wire out."""

    def __init__(
        self,
        catalog: Catalog,
        queries: Queries,
        trades: Broadcast,
        candles: Mapping[Interval, Broadcast],
    ) -> None:
        self._catalog = catalog
        self._queries = queries
        self._trades = trades
        self._candles = candles

    async def ListSymbols(self, request: pb.ListSymbolsRequest, context: Context) -> pb.ListSymbolsResponse:
        return self._queries.symbols(request)

    async def GetCandles(self, request: pb.GetCandlesRequest, context: Context) -> pb.GetCandlesResponse:
        return await self._queries.candles(request)

    async def ListTrades(self, request: pb.ListTradesRequest, context: Context) -> pb.ListTradesResponse:
        return await self._queries.trades(request)

    async def GetTicker(self, request: pb.GetTickerRequest, context: Context) -> pb.GetTickerResponse:
        return self._queries.ticker(request)

    async def BatchGetTickers(self, request: pb.BatchGetTickersRequest, context: Context) -> pb.BatchGetTickersResponse:
        return self._queries.tickers(request)

    async def ListBackfills(self, request: pb.ListBackfillsRequest, context: Context) -> pb.ListBackfillsResponse:
        return pb.ListBackfillsResponse(backfills=map(convert.backfill_to_pb, self._queries.backfills()))

    async def StreamTrades(
        self, request: pb.StreamTradesRequest, context: Context
    ) -> AsyncIterator[pb.StreamTradesResponse]:
        subscription = self._trades.subscribe(
            keys=self._keys(request.symbols), resume_token=request.resume_token, slow_reader=request.slow_reader
        )
        async for response in stream_responses(subscription, pb.StreamTradesResponse, convert.trades_event):
            yield response

    async def StreamCandles(
        self, request: pb.StreamCandlesRequest, context: Context
    ) -> AsyncIterator[pb.StreamCandlesResponse]:
        subscription = self._candles[convert.interval_from_pb(request.interval)].subscribe(
            keys=self._keys(request.symbols), resume_token=request.resume_token, slow_reader=request.slow_reader
        )
        async for response in stream_responses(subscription, pb.StreamCandlesResponse, convert.candles_event):
            yield response

    async def GetIndicators(self, request: pb.GetIndicatorsRequest, context: Context) -> pb.GetIndicatorsResponse:
        raise NotImplementedError

    async def ConvertPrice(self, request: pb.ConvertPriceRequest, context: Context) -> pb.ConvertPriceResponse:
        raise NotImplementedError

    def MarketDataStream(
        self, requests: AsyncIterator[pb.MarketDataStreamRequest], context: Context
    ) -> AsyncIterator[pb.MarketDataStreamResponse]:
        raise NotImplementedError

    def StreamMarketData(
        self, request: pb.StreamMarketDataRequest, context: Context
    ) -> AsyncIterator[pb.StreamMarketDataResponse]:
        raise NotImplementedError

    def _keys(self, symbols: Iterable[str]) -> frozenset[str] | None:
        """The symbols of a subscription; None for all. Raises SymbolNotFound."""
        keys = frozenset(symbols)
        for key in keys:
            self._catalog.require(key)
        return keys or None
