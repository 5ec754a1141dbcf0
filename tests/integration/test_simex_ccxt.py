"""Unmodified ccxt and ccxt.pro against simex."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import ccxt
import ccxt.pro
import pytest

from services.simex.server import open_simex
from services.simex.settings import SimexSettings
from tests.unit.simex.builders import HandClock

KEYS = {"api_key": "a-key-of-the-tests", "api_secret": "a-secret-of-the-tests"}
WAIT_SECONDS = 20


@asynccontextmanager
async def a_ccxt(url: str, *, secret: str = KEYS["api_secret"]) -> AsyncIterator[Any]:
    """ccxt's Binance, told nothing but where simex is and that only spot markets matter."""
    options = {
        "defaultType": "spot",
        "fetchMarkets": {"types": ["spot"]},
        "fetchCurrencies": False,
        "fetchMargins": False,
    }
    exchange = ccxt.pro.binance(
        {"apiKey": KEYS["api_key"], "secret": secret, "options": options, "enableRateLimit": False}
    )
    rest, socket = f"{url}/api/v3", f"{url.replace('http', 'ws')}/ws"
    exchange.urls["api"] = {"public": rest, "private": rest, "ws": {"spot": socket}}
    try:
        await exchange.load_markets()
        yield exchange
    finally:
        await exchange.close()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """simex on a free port, sixty times as fast as real time."""
    settings = SimexSettings.model_validate({"port": 0, "history_days": 3, "speed": 60, **KEYS})
    async with open_simex(settings) as address:
        yield address


@pytest.fixture
async def exchange(url: str) -> AsyncIterator[Any]:
    async with a_ccxt(url) as opened:
        yield opened


async def until(watch: Callable[[], Awaitable[Any]], condition: Callable[[Any], bool]) -> Any:
    """The first value of ``watch`` for which ``condition`` holds."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition(value := await watch()):
            pass
    return value


async def test_markets_have_their_rules(exchange: Any) -> None:
    market = exchange.market("BTC/USDT")

    assert sorted(exchange.markets) == ["BTC/USDT", "ETH/USDT"]
    assert market["active"]
    assert market["precision"]["price"] == 0.01
    assert market["precision"]["amount"] == 0.00001
    assert market["limits"]["cost"]["min"] == 5
    assert abs(await exchange.fetch_time() - (await exchange.fetch_ticker("BTC/USDT"))["timestamp"]) < 600_000


async def test_candles_page_through_history_and_agree_with_their_trades(exchange: Any) -> None:
    now = await exchange.fetch_time()
    since = now // 300_000 * 300_000 - 12 * 300_000

    candles = await exchange.fetch_ohlcv("ETH/USDT", "5m", since=since, limit=10)
    minutes = await exchange.fetch_ohlcv("ETH/USDT", "1m", since=since, limit=50)
    trades: dict[str, Any] = {}
    while not trades or max(trade["timestamp"] for trade in trades.values()) < since + 300_000:
        first = max((trade["timestamp"] for trade in trades.values()), default=since)
        page = await exchange.fetch_trades("ETH/USDT", since=first, limit=1000)
        trades |= {trade["id"]: trade for trade in page}

    assert [candle[0] for candle in candles] == [since + step * 300_000 for step in range(10)]
    assert len(minutes) == 50
    in_first = [trade for trade in trades.values() if trade["timestamp"] < since + 300_000]
    prices = [trade["price"] for trade in in_first]
    assert candles[0][1:5] == [prices[0], max(prices), min(prices), prices[-1]]
    assert candles[0][5] == pytest.approx(sum(trade["amount"] for trade in in_first), rel=1e-12)
    highs, lows = [candle[2] for candle in minutes[:5]], [candle[3] for candle in minutes[:5]]
    assert candles[0][1:5] == [minutes[0][1], max(highs), min(lows), minutes[4][4]]


async def test_trades_are_found_by_id(exchange: Any) -> None:
    last = (await exchange.fetch_trades("BTC/USDT", limit=5))[0]

    found = await exchange.fetch_trades("BTC/USDT", limit=1, params={"fromId": int(last["id"])})

    assert [(trade["id"], trade["price"], trade["timestamp"]) for trade in found] == [
        (last["id"], last["price"], last["timestamp"])
    ]


async def test_tickers_and_books(exchange: Any) -> None:
    ticker, book = await exchange.fetch_ticker("BTC/USDT"), await exchange.fetch_order_book("BTC/USDT", 10)
    tickers, bests = await exchange.fetch_tickers(), await exchange.fetch_bids_asks()

    assert ticker["low"] <= ticker["last"] <= ticker["high"]
    assert ticker["quoteVolume"] > 0
    assert len(book["bids"]) == len(book["asks"]) == 10
    assert book["bids"][0][0] < book["asks"][0][0]
    assert sorted(tickers) == sorted(bests) == ["BTC/USDT", "ETH/USDT"]


async def test_watched_trades_are_those_of_rest(exchange: Any) -> None:
    seen: dict[str, tuple[float, float, int]] = {}

    async def watch() -> int:
        for trade in await exchange.watch_trades("BTC/USDT"):
            seen[trade["id"]] = (trade["price"], trade["amount"], trade["timestamp"])
        return len(seen)

    await until(watch, lambda count: count >= 100)

    ids = sorted(map(int, seen))
    assert ids == list(range(ids[0], ids[-1] + 1))
    fetched = await exchange.fetch_trades("BTC/USDT", limit=len(ids), params={"fromId": ids[0]})
    assert {trade["id"]: (trade["price"], trade["amount"], trade["timestamp"]) for trade in fetched} == seen


async def test_watched_candles_close_as_rest_has_them(exchange: Any) -> None:
    candles: dict[int, list[float]] = {}

    async def watch() -> int:
        candles.update({candle[0]: candle for candle in await exchange.watch_ohlcv("BTC/USDT", "1m")})
        return len(candles)

    await until(watch, lambda count: count >= 3)

    closed = sorted(candles)[1]
    assert await exchange.fetch_ohlcv("BTC/USDT", "1m", since=closed, limit=1) == [candles[closed]]


async def test_a_watched_book_follows_its_updates(exchange: Any) -> None:
    book = await until(lambda: exchange.watch_order_book("ETH/USDT"), lambda book: book["nonce"] is not None)
    first = book["nonce"]

    for _ in range(20):
        book = await until(lambda: exchange.watch_order_book("ETH/USDT"), lambda book: len(book["bids"]) > 0)

    assert book["nonce"] > first
    assert book["bids"][0][0] < book["asks"][0][0]


async def test_watched_tickers_and_best_prices(exchange: Any) -> None:
    ticker = await until(lambda: exchange.watch_ticker("ETH/USDT"), lambda ticker: ticker["last"] is not None)
    bests = await until(lambda: exchange.watch_bids_asks(["BTC/USDT"]), bool)

    assert ticker["low"] <= ticker["last"] <= ticker["high"]
    assert bests["BTC/USDT"]["bid"] < bests["BTC/USDT"]["ask"]


async def test_unwatching_ends_a_stream(exchange: Any) -> None:
    await until(lambda: exchange.watch_trades("BTC/USDT"), bool)

    async with asyncio.timeout(WAIT_SECONDS):
        await exchange.un_watch_trades("BTC/USDT")

    assert await until(lambda: exchange.watch_trades("BTC/USDT"), bool)


async def test_a_market_order_is_filled_at_once(exchange: Any) -> None:
    order = await exchange.create_order("BTC/USDT", "market", "buy", 0.5)

    assert (order["status"], order["filled"]) == ("closed", 0.5)
    trades = await exchange.fetch_my_trades("BTC/USDT")
    assert sum(trade["amount"] for trade in trades) == pytest.approx(0.5)
    balance = await exchange.fetch_balance()
    fees = sum(trade["fee"]["cost"] for trade in trades)
    assert balance["BTC"]["free"] == pytest.approx(0.5 - fees, abs=1e-12)
    assert balance["USDT"]["free"] == pytest.approx(100_000 - order["cost"], abs=1e-6)


async def test_a_limit_order_waits_is_seen_and_is_canceled(exchange: Any) -> None:
    price = round((await exchange.fetch_ticker("BTC/USDT"))["last"] * 0.8, 2)
    order = await exchange.create_order("BTC/USDT", "limit", "buy", 0.1, price, {"clientOrderId": "mine-1"})

    assert [found["id"] for found in await exchange.fetch_open_orders("BTC/USDT")] == [order["id"]]
    assert (await exchange.fetch_order(None, "BTC/USDT", {"clientOrderId": "mine-1"}))["status"] == "open"
    assert (await exchange.fetch_balance())["USDT"]["used"] == pytest.approx(price * 0.1)

    assert (await exchange.cancel_order(order["id"], "BTC/USDT"))["status"] == "canceled"

    assert await exchange.fetch_open_orders("BTC/USDT") == []
    assert [found["status"] for found in await exchange.fetch_orders("BTC/USDT")] == ["canceled"]
    assert (await exchange.fetch_balance())["USDT"]["used"] == 0


async def test_a_limit_order_at_the_market_is_filled_by_later_trades() -> None:
    clock = HandClock(int(datetime.now(UTC).timestamp() * 1000))
    settings = SimexSettings.model_validate({"port": 0, "history_days": 3, **KEYS})
    async with open_simex(settings, clock) as url, a_ccxt(url) as exchange:
        price = (await exchange.fetch_order_book("BTC/USDT", 5))["bids"][0][0]
        order = await exchange.create_order("BTC/USDT", "limit", "buy", 0.01, price)
        assert order["status"] == "open"

        async def a_second_later() -> Any:
            clock.advance(1000)
            return await exchange.fetch_order(order["id"], "BTC/USDT")

        done = await until(a_second_later, lambda order: order["status"] == "closed")

    assert (done["filled"], done["average"]) == (0.01, price)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("BTC/USDT", "limit", "buy", 100, 50_000), ccxt.InsufficientFunds),
        (("BTC/USDT", "market", "sell", 1), ccxt.InsufficientFunds),
        (("BTC/USDT", "limit", "buy", 0.00001, 50_000), ccxt.BadRequest),
        (("BTC/USDT", "limit", "buy", 0.1, 90_000, {"postOnly": True}), ccxt.OrderImmediatelyFillable),
        (("BTC/USDT", "limit", "buy", 0.1, 30_000, {"clientOrderId": "no spaces"}), ccxt.BadRequest),
        (("BTC/USDT", "limit", "buy", 0.1, 30_000, {"timeInForce": "GTD"}), ccxt.BadRequest),
    ],
)
async def test_refused_orders_raise_what_ccxt_raises_for_binance(
    exchange: Any, arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await exchange.create_order(*arguments)

    assert await exchange.fetch_orders("BTC/USDT") == []


async def test_unknown_orders_and_doubled_client_ids(exchange: Any) -> None:
    with pytest.raises(ccxt.OrderNotFound):
        await exchange.cancel_order("99", "BTC/USDT")
    with pytest.raises(ccxt.OrderNotFound):
        await exchange.fetch_order("99", "BTC/USDT")
    with pytest.raises(ccxt.OrderNotFound):
        await exchange.cancel_all_orders("BTC/USDT")
    await exchange.create_order("BTC/USDT", "limit", "buy", 0.1, 30_000, {"clientOrderId": "twice"})
    with pytest.raises(ccxt.InvalidOrder):
        await exchange.create_order("BTC/USDT", "limit", "buy", 0.1, 30_000, {"clientOrderId": "twice"})
    assert len(await exchange.cancel_all_orders("BTC/USDT")) == 1


async def test_a_wrong_signature_key_or_time_is_refused(url: str) -> None:
    async with a_ccxt(url, secret="wrong") as wrong:
        with pytest.raises(ccxt.AuthenticationError, match="-1022"):
            await wrong.fetch_balance()
        wrong.apiKey = "wrong"
        with pytest.raises(ccxt.AuthenticationError, match="-2015"):
            await wrong.fetch_balance()
    async with a_ccxt(url) as late:
        late.options["timeDifference"] = 3_600_000
        with pytest.raises(ccxt.InvalidNonce):
            await late.fetch_balance()
        late.options["timeDifference"] = -3_600_000
        with pytest.raises(ccxt.InvalidNonce):
            await late.fetch_balance()
