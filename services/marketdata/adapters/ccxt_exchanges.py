"""What is special about the exchanges of ccxt.pro, so that naming one is enough."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import ccxt.pro

from services.marketdata.adapters import ccxt_pages as pages

_KEEP_ALIVE_MS = 10_000
_TRADES_REMEMBERED = 10_000
_CANDLES_A_PAGE = 1000


@dataclass(frozen=True)
class Preset:
    """How an exchange of ccxt is used for market data."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of ccxt, such that live trades are the very ones that REST tells, with the same ids."""
    page: pages.Page = pages.by_time
    """How past trades are read."""
    numbered: bool = False
    """Whether the ids of the trades of a market are consecutive numbers."""
    has_ids: bool = True
    """Whether its trades have ids at all."""
    candles_a_page: int = _CANDLES_A_PAGE
    book_depths: tuple[int, ...] = ()
    """The depths of order books that it offers; empty where any can be asked for."""
    markets: str = ""
    """The method of ccxt that reads spot markets alone, where the ordinary one reads others too."""
    public_only: bool = False
    """Whether ccxt would log in for live trades that are public."""


_SPOT = {"fetchMarkets": {"types": ["spot"]}}

PRESETS: Mapping[str, Preset] = {
    # Aggregate trades, over websocket as over REST.
    "binance": Preset({**_SPOT, "watchTrades": {"name": "aggTrade"}}, pages.by_number, numbered=True),
    # Its trades have no ids: equal trades of one millisecond are told apart by their count.
    "mexc": Preset(page=pages.without_ids, has_ids=False, candles_a_page=500, markets="fetch_spot_markets"),
    # REST knows the newest 60 trades only.
    "bybit": Preset(_SPOT, pages.newest, book_depths=(1, 50, 200, 1000)),
    # The channel `trades` sums trades up under the last id; `trades-all` tells each, as REST does.
    # A book of 50 levels is for customers.
    "okx": Preset(
        {**_SPOT, "watchTrades": {"channel": "trades-all"}},
        pages.before_number,
        numbered=True,
        candles_a_page=100,
        book_depths=(1, 5, 400),
        public_only=True,
    ),
    "coinbase": Preset(page=pages.by_seconds, numbered=True, candles_a_page=300),
    # Its page of candles is always the newest 720.
    "kraken": Preset(
        page=pages.since_nanosecond, numbered=True, candles_a_page=720, book_depths=(10, 25, 100, 500, 1000)
    ),
}
"""The exchanges that work out of the box; others are used as ccxt describes them."""


def new_exchange(exchange_id: str, base_url: str, preset: Preset) -> Any:
    """The exchange ``exchange_id`` of ccxt.pro with exact numbers, at ``base_url`` or its own addresses.

    Raises ValueError when ccxt.pro has no such exchange, or one without live trades or candles.
    """
    if exchange_id not in ccxt.pro.exchanges:
        raise ValueError(f"{exchange_id}: ccxt.pro has no exchange of this name")
    options = {
        "fetchCurrencies": False,
        "tradesLimit": _TRADES_REMEMBERED,
        "defaultType": "spot",
        **preset.options,
    }
    exchange = getattr(ccxt.pro, exchange_id)({"enableRateLimit": True, "options": options})
    if not (exchange.has["watchTrades"] and exchange.has["fetchOHLCV"]):
        raise ValueError(f"{exchange_id}: it has no live trades or no candles")
    # Currencies are not needed, and some exchanges tell them only to their customers.
    exchange.has["fetchCurrencies"] = False
    _make_exact(exchange)
    exchange.streaming["keepAlive"] = min(exchange.streaming.get("keepAlive", _KEEP_ALIVE_MS), _KEEP_ALIVE_MS)
    if preset.markets:
        exchange.fetch_markets = getattr(exchange, preset.markets)
    if preset.public_only:
        exchange.authenticate = _need_not_log_in
    if base_url:
        exchange.urls["api"] = _moved(exchange.urls["api"], base_url.rstrip("/"))
    return exchange


def _make_exact(exchange: Any) -> None:
    """Let ``exchange`` make Decimals of the numbers that it reads, also where it would make floats of them."""

    def exact(row: Any, key: Any, default: Any = None) -> Any:
        return exchange.safe_number(row, key, default)

    def exact_2(row: Any, key: Any, other: Any, default: Any = None) -> Any:
        return exchange.safe_number_2(row, key, other, default)

    exchange.number = Decimal
    exchange.safe_float, exchange.safe_float_2 = exact, exact_2


async def _need_not_log_in(_parameters: object = None) -> None:
    """Stands in for ccxt's login."""


def _moved(urls: Any, base_url: str) -> Any:
    """``urls``, however nested, at the host of ``base_url``: the same paths, ws beside http and wss beside https."""
    if isinstance(urls, dict):
        return {key: _moved(value, base_url) for key, value in urls.items()}
    scheme, path = urlsplit(urls)[0], urlsplit(urls).path
    return ("ws" + base_url.removeprefix("http") if scheme.startswith("ws") else base_url) + path
