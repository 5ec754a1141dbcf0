"""Indicators over stored candles."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import talib

from services.marketdata.catalog import Catalog
from services.marketdata.domain.indicators import Indicator, IndicatorKind
from services.marketdata.domain.market import Candle, Interval
from services.marketdata.ports.candle_reader import CandleReader

Column = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """The values of an indicator, by name, after the candle that opens at ``open_time``."""

    open_time: datetime
    values: Mapping[str, float]


class GetIndicators:
    """Compute indicators over the stored candles of a symbol, each value from enough candles before it."""

    def __init__(self, catalog: Catalog, store: CandleReader) -> None:
        self._catalog = catalog
        self._store = store

    async def __call__(
        self,
        symbol: str,
        interval: Interval,
        indicators: Sequence[Indicator],
        start: datetime | None,
        end: datetime | None,
        limit: int,
    ) -> list[list[Point]]:
        """For each of ``indicators`` the newest ``limit`` points of candles that open in [start, end), by time.

        Raises SymbolNotFound.
        """
        self._catalog.require(symbol)
        warm_up = max(indicator.warm_up for indicator in indicators)
        candles = await self._store.newest_candles(symbol, interval, limit + warm_up, end)
        first = max(0, len(candles) - limit)
        while first < len(candles) and start is not None and candles[first].open_time < start:
            first += 1
        series = []
        for indicator in indicators:
            series.append(points(candles, indicator, first))
            # Many values take a while, and others have their turn in between.
            await asyncio.sleep(0)
        return series


def points(candles: Sequence[Candle], indicator: Indicator, first: int) -> list[Point]:
    """The values of ``indicator`` after the candles from the one with the index ``first`` on, where it has any.

    All that an indicator needs before is taken from ``candles`` too, and nothing else: the same point comes out the
    same, whatever it is asked for together with.
    """
    begin = max(0, first - indicator.warm_up)
    columns = _columns(candles[begin:], indicator)
    names, rows = list(columns), np.column_stack(list(columns.values()))[first - begin :]
    return [
        Point(candle.open_time, dict(zip(names, row.tolist(), strict=True)))
        for candle, row in zip(candles[first:], rows, strict=True)
        if not np.isnan(row).any()
    ]


def _columns(candles: Sequence[Candle], indicator: Indicator) -> Mapping[str, Column]:
    closes = np.array([candle.close for candle in candles], dtype=np.float64)
    period = indicator.period
    match indicator.kind:
        case IndicatorKind.RSI:
            return {"rsi": talib.RSI(closes, period)}
        case IndicatorKind.EMA:
            return {"ema": talib.EMA(closes, period)}
        case IndicatorKind.SMA:
            return {"sma": talib.SMA(closes, period)}
        case IndicatorKind.MACD:
            lines = talib.MACD(closes, indicator.fast_period, indicator.slow_period, indicator.signal_period)
            return dict(zip(("macd", "signal", "histogram"), lines, strict=True))
        case IndicatorKind.BOLLINGER:
            bands = talib.BBANDS(closes, period, indicator.deviations, indicator.deviations)
            return dict(zip(("upper", "middle", "lower"), bands, strict=True))
        case IndicatorKind.ATR:
            highs = np.array([candle.high for candle in candles], dtype=np.float64)
            lows = np.array([candle.low for candle in candles], dtype=np.float64)
            return {"atr": talib.ATR(highs, lows, closes, period)}
