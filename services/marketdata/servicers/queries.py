"""The queries of MarketDataService."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time

from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from services.marketdata.catalog import Catalog
from services.marketdata.converters import market as convert
from services.marketdata.converters import symbols as symbol_converters
from services.marketdata.domain.market import Interval
from services.marketdata.domain.series import Progress
from services.marketdata.use_cases.candles import GetCandles, GetLocalDays, time_zone
from services.marketdata.use_cases.prices import ConvertPrice, GetTicker, GetTickers
from services.marketdata.use_cases.trades import ListTrades
from services.runtime import decimals, timestamps
from services.runtime.errors import FieldViolations
from services.runtime.pagination import decode_time, decode_time_and_id, encode_page_token

_PAGE_SIZE = 500


@dataclass(frozen=True)
class Queries:
    """Answers what is asked about stored and newest data: wire in, wire out."""

    catalog: Catalog
    get_candles: GetCandles
    get_local_days: GetLocalDays
    list_trades: ListTrades
    get_ticker: GetTicker
    get_tickers: GetTickers
    convert_price: ConvertPrice
    backfills: Callable[[], Iterable[Progress]]

    def symbols(self, request: pb.ListSymbolsRequest) -> pb.ListSymbolsResponse:
        """See ListSymbols."""
        asset_type = symbol_converters.asset_type_from_pb(request.asset_type)
        state = symbol_converters.state_from_pb(request.state)
        wanted = (
            symbol
            for symbol in self.catalog.all()
            if request.source in ("", symbol.source)
            and asset_type in (None, symbol.asset_type)
            and state in (None, symbol.state)
        )
        return pb.ListSymbolsResponse(symbols=map(symbol_converters.symbol_to_pb, wanted))

    async def candles(self, request: pb.GetCandlesRequest) -> pb.GetCandlesResponse:
        """See GetCandles."""
        start, end = convert.span_from_pb(request)
        if request.page_token:
            start = decode_time(request.page_token, request)
        interval, size = convert.interval_from_pb(request.interval), request.page_size or _PAGE_SIZE
        if request.time_zone:
            if interval is not Interval.ONE_DAY:
                raise FieldViolations({"time_zone": "only daily candles have a time zone; leave it empty"})
            days = await self.get_local_days(request.symbol, time_zone(request.time_zone), start, end, size)
            return convert.local_days_to_pb(days.days, _token(days.next_start, request))
        page = await self.get_candles(request.symbol, interval, start, end, size)
        return convert.candles_page_to_pb(page.candles, _token(page.next_start, request))

    async def trades(self, request: pb.ListTradesRequest) -> pb.ListTradesResponse:
        """See ListTrades."""
        start, end = convert.span_from_pb(request)
        after = decode_time_and_id(request.page_token, request)
        page = await self.list_trades(request.symbol, start, end, after, request.page_size or _PAGE_SIZE)
        token = ""
        if page.more:
            last = page.trades[-1]
            token = encode_page_token([last.trade_time.isoformat(), last.trade_id], request)
        return convert.trades_page_to_pb(page.trades, token)

    def ticker(self, request: pb.GetTickerRequest) -> pb.GetTickerResponse:
        """See GetTicker."""
        return pb.GetTickerResponse(ticker=convert.ticker_to_pb(self.get_ticker(request.symbol)))

    def tickers(self, request: pb.BatchGetTickersRequest) -> pb.BatchGetTickersResponse:
        """See BatchGetTickers."""
        tickers, missing = self.get_tickers(request.symbols)
        return pb.BatchGetTickersResponse(tickers=map(convert.ticker_to_pb, tickers), missing=missing)

    async def converted(self, request: pb.ConvertPriceRequest) -> pb.ConvertPriceResponse:
        """See ConvertPrice."""
        moment = timestamps.from_pb(request.time) if request.HasField("time") else None
        amount = decimals.from_pb(request.amount)
        found = await self.convert_price(amount, request.from_currency, request.to_currency, moment, request.source)
        return pb.ConvertPriceResponse(
            amount=decimals.to_pb(found.amount),
            rate=decimals.to_pb(found.rate),
            rate_time=timestamps.to_pb(datetime.combine(found.day, time(), UTC)),
            source=found.source,
        )


def _token(next_start: datetime | None, request: pb.GetCandlesRequest) -> str:
    return "" if next_start is None else encode_page_token([next_start.isoformat()], request)
