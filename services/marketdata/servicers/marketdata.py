"""The MarketDataService of the contract."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc as pb_grpc
from services.marketdata.converters import market as convert
from services.marketdata.converters.indicators import indicators_from_pb, series_to_pb
from services.marketdata.servicers.queries import Queries
from services.marketdata.servicers.streams import Streams
from services.marketdata.use_cases.indicators import GetIndicators
from services.runtime.errors import FieldViolations

_DEFAULT_LIMIT = 500

Context = grpc.aio.ServicerContext[Any, Any]


class MarketDataServicer(pb_grpc.MarketDataServiceServicer):
    """Wire in, wire out."""

    def __init__(
        self,
        queries: Queries,
        get_indicators: GetIndicators,
        streams: Streams,
    ) -> None:
        self._queries = queries
        self._get_indicators = get_indicators
        self._streams = streams

    async def ListSymbols(self, request: pb.ListSymbolsRequest, context: Context) -> pb.ListSymbolsResponse:
        return self._queries.symbols(request)

    async def GetCandles(self, request: pb.GetCandlesRequest, context: Context) -> pb.GetCandlesResponse:
        if request.include_forming and request.time_zone:
            raise FieldViolations({"include_forming": "there are no forming candles of days of a time zone"})
        page = await self._queries.candles(request)
        if request.include_forming and not page.next_page_token:
            await self._streams.add_forming(request, page)
        return page

    async def ListTrades(self, request: pb.ListTradesRequest, context: Context) -> pb.ListTradesResponse:
        return await self._queries.trades(request)

    async def GetTicker(self, request: pb.GetTickerRequest, context: Context) -> pb.GetTickerResponse:
        return self._queries.ticker(request)

    async def BatchGetTickers(self, request: pb.BatchGetTickersRequest, context: Context) -> pb.BatchGetTickersResponse:
        return self._queries.tickers(request)

    async def ListBackfills(self, request: pb.ListBackfillsRequest, context: Context) -> pb.ListBackfillsResponse:
        return pb.ListBackfillsResponse(backfills=map(convert.backfill_to_pb, self._queries.backfills()))

    def StreamTrades(self, request: pb.StreamTradesRequest, context: Context) -> AsyncIterator[pb.StreamTradesResponse]:
        return self._streams.trades(request)

    def StreamCandles(
        self, request: pb.StreamCandlesRequest, context: Context
    ) -> AsyncIterator[pb.StreamCandlesResponse]:
        return self._streams.candles(request)

    async def GetIndicators(self, request: pb.GetIndicatorsRequest, context: Context) -> pb.GetIndicatorsResponse:
        indicators = indicators_from_pb(request.indicators)
        start, end = convert.span_from_pb(request)
        interval, limit = convert.interval_from_pb(request.interval), request.limit or _DEFAULT_LIMIT
        found = await self._get_indicators(request.symbol, interval, indicators, start, end, limit)
        series = (
            series_to_pb(request.symbol, request.interval, indicator, points)
            for indicator, points in zip(indicators, found, strict=True)
        )
        return pb.GetIndicatorsResponse(series=series)

    async def ConvertPrice(self, request: pb.ConvertPriceRequest, context: Context) -> pb.ConvertPriceResponse:
        return await self._queries.converted(request)

    def MarketDataStream(
        self, requests: AsyncIterator[pb.MarketDataStreamRequest], context: Context
    ) -> AsyncIterator[pb.MarketDataStreamResponse]:
        return self._streams.conversation(requests)

    def StreamMarketData(
        self, request: pb.StreamMarketDataRequest, context: Context
    ) -> AsyncIterator[pb.StreamMarketDataResponse]:
        return self._streams.instruments(request)
