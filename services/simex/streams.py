"""The names of websocket streams, as Binance writes them."""

import re
from dataclasses import dataclass

from services.simex import errors
from services.simex.errors import ApiError
from services.simex.intervals import INTERVALS_MS

_NAME = re.compile(r"^(?P<symbol>[a-z0-9]{1,20})@(?P<kind>[a-zA-Z]+)(?P<detail>\d+|_\w+)?(@(?P<pace>100|1000)ms)?$")
_PLAIN = {"trade", "aggTrade", "bookTicker", "ticker", "miniTicker"}
_PARTIAL_DEPTHS = {"5", "10", "20"}


@dataclass(frozen=True)
class Stream:
    """One stream; its ``kind`` is trade, aggTrade, bookTicker, ticker, miniTicker, kline or depth."""

    name: str
    symbol: str
    kind: str
    interval: str = ""
    """Of a kline stream."""
    levels: int = 0
    """Of a partial depth stream; 0 where depth is told as changes."""
    pace_ms: int = 1000
    """Real time between two messages about the book."""


def parse_stream(name: str) -> Stream:
    """The stream called ``name``; raises ApiError when there is none such."""
    match = _NAME.match(name)
    if match is None:
        raise _unknown(name)
    symbol, kind, detail = match["symbol"].upper(), match["kind"], match["detail"] or ""
    pace_ms = int(match["pace"] or 1000)
    if kind == "kline" and detail[1:] in INTERVALS_MS and match["pace"] is None:
        return Stream(name, symbol, kind, interval=detail[1:])
    if kind == "depth" and (not detail or detail in _PARTIAL_DEPTHS):
        return Stream(name, symbol, kind, levels=int(detail or 0), pace_ms=pace_ms)
    if kind in _PLAIN and not detail and match["pace"] is None:
        return Stream(name, symbol, kind)
    if kind == "kline":
        raise errors.bad_interval()
    raise _unknown(name)


def _unknown(name: str) -> ApiError:
    return ApiError(2, f"Invalid request: no stream is called {name[:60]!r}")
