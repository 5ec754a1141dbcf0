"""Channels that are made of others: tickers from trades, indicators from complete candles."""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Hashable, Sequence
from typing import TypeVar

from levimesh.marketdata.v1 import candle_pb2, indicator_pb2
from services.marketdata.converters import market as convert
from services.marketdata.converters import streams as stream_convert
from services.marketdata.converters.indicators import series_to_pb
from services.marketdata.domain.indicators import Indicator
from services.marketdata.domain.instruments import Instrument
from services.marketdata.domain.market import Interval
from services.marketdata.domain.ticker import TickerBoard
from services.marketdata.streams.channels import Channel, LineChannel, Output, Payload
from services.marketdata.streams.marks import Marks
from services.marketdata.use_cases.indicators import GetIndicators, Point
from services.runtime import timestamps
from services.runtime.broadcast import Broadcast
from services.runtime.ring import Entries

_REMEMBERED = 64
_LONGEST_RECOMPUTED = 500

T = TypeVar("T")


class _Shared(OrderedDict[Hashable, T]):
    """The newest few things that were made, for all streams that want the same."""

    def __setitem__(self, key: Hashable, value: T) -> None:
        super().__setitem__(key, value)
        if len(self) > _REMEMBERED:
            self.popitem(last=False)


class Tickers:
    """The tickers of a replica, put into bytes once for all streams that want the same."""

    def __init__(self, board: TickerBoard, marks: Marks) -> None:
        self.marks = marks
        self._board = board
        self._made: _Shared[bytes] = _Shared()

    def all(self, symbols: Collection[str]) -> bytes | None:
        """The tickers of ``symbols`` as a response; None when there are none."""
        found = [ticker for symbol in sorted(symbols) if (ticker := self._board.ticker(symbol)) is not None]
        return stream_convert.tickers_payload(found) if found else None

    def since(self, number: int, symbols: frozenset[str]) -> bytes | None:
        """The tickers of those of ``symbols`` that traded after the moment ``number``, as a response."""
        key = number, self.marks.count, symbols
        if key not in self._made:
            self._made[key] = self.all(self.marks.changed_since(number, symbols)) or b""
        return self._made[key] or None


class TickerChannel(Channel):
    """The newest ticker of each symbol whenever it has changed, and once at the beginning."""

    name = ""

    def __init__(self, tickers: Tickers, trades: Broadcast) -> None:
        super().__init__(trades)
        self._tickers = tickers
        self._seen = tickers.marks.count
        self._untold: set[str] = set()

    def add(self, instruments: Sequence[Instrument]) -> None:
        super().add(instruments)
        self._untold |= {instrument.symbol for instrument in instruments}

    def remove(self, instruments: Sequence[Instrument]) -> None:
        super().remove(instruments)
        self._untold &= self.symbols

    async def take(self) -> Output | None:
        if self._untold:
            content, self._untold = self._tickers.all(self._untold), set()
            if content is not None:
                return Payload(content)
        if self._seen == self._tickers.marks.count:
            return None
        content = self._tickers.since(self._seen, self.symbols)
        self._seen = self._tickers.marks.count
        return None if content is None else Payload(content)


class LiveIndicators:
    """Indicators after new candles, computed once for all streams that want the same."""

    def __init__(self, get_indicators: GetIndicators) -> None:
        self._get_indicators = get_indicators
        self._asked: _Shared[asyncio.Future[list[Point]]] = _Shared()

    async def points(
        self, symbol: str, interval: Interval, indicator: Indicator, candles: Sequence[candle_pb2.Candle]
    ) -> list[Point]:
        """The points that ``candles`` of the symbol, just completed or corrected, have made new."""
        newest = max(candle.sequence for candle in candles)
        key = symbol, interval, indicator, newest, len(candles)
        if (asked := self._asked.get(key)) is None or (asked.done() and asked.exception() is not None):
            asked = asyncio.ensure_future(self._compute(symbol, interval, indicator, candles))
            self._asked[key] = asked
        # Others may wait for it too, so a stream that ends must not cancel it.
        return await asyncio.shield(asked)

    async def _compute(
        self, symbol: str, interval: Interval, indicator: Indicator, candles: Sequence[candle_pb2.Candle]
    ) -> list[Point]:
        times = {timestamps.from_pb(candle.open_time) for candle in candles}
        start, end = min(times), max(times) + interval.length
        corrected = any(candle.revision for candle in candles)
        count = _LONGEST_RECOMPUTED if corrected else (end - start) // interval.length
        # A corrected candle changes what comes after it too.
        until = None if corrected else end
        (found,) = await self._get_indicators(symbol, interval, [indicator], start, until, count)
        return [point for point in found if corrected or point.open_time in times]


class IndicatorChannel(LineChannel):
    """The values of indicators after every complete candle of one interval."""

    live: LiveIndicators
    interval: Interval

    async def _payload(self, item: Entries) -> Payload | None:
        candles: dict[str, list[candle_pb2.Candle]] = {}
        for entry in item.entries:
            candles.setdefault(entry.key, []).extend(stream_convert.candles_of(entry))
        batch = indicator_pb2.IndicatorBatch()
        for instrument in self.instruments:
            if instrument.indicator is None or instrument.symbol not in candles:
                continue
            found = await self.live.points(
                instrument.symbol, self.interval, instrument.indicator, candles[instrument.symbol]
            )
            if found:
                interval = convert.interval_to_pb(self.interval)
                batch.series.append(series_to_pb(instrument.symbol, interval, instrument.indicator, found))
        return Payload(stream_convert.indicators_payload(batch)) if batch.series else None
