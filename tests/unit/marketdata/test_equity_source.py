"""Shares from a server that speaks as Yahoo's does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.marketdata.adapters.equity_source import EquitySource, open_equity_source
from services.marketdata.domain.market import AssetType, Channel, Interval, Origin
from services.marketdata.domain.quarantine import Reason
from services.marketdata.domain.rules import Retention
from services.marketdata.ports.sources import SourceUnavailable
from services.marketdata.source_settings import EquitySettings
from tests.marketdata import RefusedRows

# The library uses what pandas will drop one day.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")

KEPT = Retention(timedelta(days=36_500), timedelta(days=36_500))
OPENING = datetime(2024, 3, 1, 14, 30, tzinfo=UTC)
"""09:30 in New York."""
CLOSING = datetime(2024, 3, 5, 21, 0, 1, tzinfo=UTC)
_DAYS = [OPENING, OPENING + timedelta(days=3), OPENING + timedelta(days=4)]


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


class YahooServer:
    """Answers as the chart interface does; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.closes: list[float | None] = [179.66000366210938, 175.1, 170.12]

    def chart(self, ticker: str, query: Any) -> dict[str, Any]:
        if ticker != "BRK-B":
            error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
            return {"chart": {"result": None, "error": error}}
        first, last = int(query.get("period1", 0)), int(query.get("period2", 2**40))
        step = timedelta(minutes=5)
        times = _DAYS if query["interval"] == "1d" else [OPENING, OPENING + step, OPENING + 2 * step]
        chosen = [index for index, time in enumerate(times) if first <= _seconds(time) < last]
        quote: dict[str, list[Any]] = {
            "open": [179.5500030517578, 176.1, 170.7],
            "high": [180.52999877929688, 176.9, 172.0],
            "low": [177.37, 173.7, 169.6],
            "close": self.closes,
            "volume": [73_488_000, 81_510_100, 95_132_400],
        }
        result = {
            "meta": self._meta(ticker),
            "timestamp": [_seconds(times[index]) for index in chosen],
            "indicators": {
                "quote": [{name: [values[index] for index in chosen] for name, values in quote.items()}],
                "adjclose": [{"adjclose": [self.closes[index] for index in chosen]}],
            },
        }
        return {"chart": {"result": [result], "error": None}}

    def _meta(self, ticker: str) -> dict[str, Any]:
        period = {"timezone": "EST", "start": 1709649000, "end": 1709672400, "gmtoffset": -18000}
        return {
            "currency": "USD",
            "symbol": ticker,
            "exchangeName": "NYQ",
            "instrumentType": "EQUITY",
            "firstTradeDate": 345479400,
            "regularMarketTime": _seconds(CLOSING),
            "gmtoffset": -18000,
            "timezone": "EST",
            "exchangeTimezoneName": "America/New_York",
            "regularMarketPrice": 170.12,
            "priceHint": 2,
            "tradingPeriods": [[{**period, "start": _seconds(OPENING), "end": _seconds(OPENING) + 23_400}]],
            "currentTradingPeriod": {"pre": period, "regular": period, "post": period},
            "dataGranularity": "1d",
            "range": "",
            "validRanges": ["1d", "5d"],
        }

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.path == "/v1/test/getcrumb":
            return web.Response(text="crumb")
        if request.path.startswith("/v8/finance/chart/"):
            chart = self.chart(request.path.rpartition("/")[2], request.query)
            return web.json_response(chart, status=404 if chart["chart"]["error"] else 200)
        if request.path.startswith("/v10/finance/quoteSummary/"):
            error = {"code": "Not Found", "description": "Quote not found"}
            return web.json_response({"quoteSummary": {"result": None, "error": error}}, status=404)
        return web.Response(text="")


@asynccontextmanager
async def opened(
    yahoo: YahooServer, refused: RefusedRows | None = None, **settings: Any
) -> AsyncIterator[EquitySource]:
    application = web.Application()
    application.router.add_get("/{path:.*}", yahoo.answer)
    async with TestServer(application) as server:
        values = {"name": "yahoo", "base_url": str(server.make_url("")), "symbols": ("BRK-B",), **settings}
        async with open_equity_source(EquitySettings.model_validate(values), refused or RefusedRows(), KEPT) as source:
            yield source


async def test_a_share_is_a_symbol_whose_candles_are_polled() -> None:
    async with opened(YahooServer()) as source:
        (symbol,) = await source.symbols()
        assert (symbol.symbol, symbol.source_symbol, symbol.price_step) == (
            "BRK.B-USD@yahoo",
            "BRK-B",
            Decimal("0.0001"),
        )
        assert (symbol.asset_type, source.channels) == (AssetType.EQUITY, frozenset({Channel.CANDLES}))
        assert await source.now() == CLOSING
        assert await source.market("NONE-USD@yahoo", "NONE") is None


async def test_daily_candles_open_at_midnight_and_prices_are_rounded_to_their_step() -> None:
    async with opened(YahooServer()) as source:
        (symbol,) = await source.symbols()
        candles = await source.candles(symbol, Interval.ONE_DAY, datetime(2024, 3, 1, tzinfo=UTC))
    assert [candle.open_time.day for candle in candles] == [1, 4, 5]
    first = candles[0]
    assert first.open_time == datetime(2024, 3, 1, tzinfo=UTC)
    assert (first.open, first.high, first.low, first.close) == tuple(
        map(Decimal, ("179.55", "180.53", "177.37", "179.66"))
    )
    assert (first.volume, first.origin) == (Decimal(73_488_000), Origin.SOURCE)


async def test_candles_of_minutes_open_in_utc_and_only_the_reach_of_the_service_is_asked_for() -> None:
    yahoo = YahooServer()
    async with opened(yahoo) as source:
        (symbol,) = await source.symbols()
        candles = await source.candles(symbol, Interval.FIVE_MINUTES, datetime(2020, 1, 1, tzinfo=UTC))
        assert candles[0].open_time == OPENING
        assert len(candles) == 3
        assert not await source.candles(symbol, Interval.FOUR_HOURS, OPENING)


async def test_a_bar_that_breaks_a_rule_goes_to_quarantine() -> None:
    yahoo, refused = YahooServer(), RefusedRows()
    yahoo.closes[1] = -175.1
    async with opened(yahoo, refused) as source:
        (symbol,) = await source.symbols()
        # From another day than elsewhere: the library remembers what it was told of the past.
        candles = await source.candles(symbol, Interval.ONE_DAY, datetime(2024, 2, 29, tzinfo=UTC))
    assert [candle.open_time.day for candle in candles] == [1, 5]
    assert [row.reason for row in refused.rows] == [Reason.PRICE]


async def test_a_share_that_there_is_not_is_told_by_its_name() -> None:
    async with opened(YahooServer(), symbols=("BRK-B", "NONE")) as source:
        with pytest.raises(SourceUnavailable, match="has no share NONE"):
            await source.symbols()


async def test_a_service_that_is_not_there_is_said_with_what_to_do() -> None:
    settings = EquitySettings(name="yahoo", base_url="http://127.0.0.1:9", symbols=("AAPL",))
    async with open_equity_source(settings, RefusedRows(), KEPT) as source:
        with pytest.raises(SourceUnavailable, match="check that this machine reaches it"):
            await source.symbols()
