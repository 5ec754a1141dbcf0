"""Exchanges that naming is enough for: OKX and Kraken over their own protocols, the others by what they send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.marketdata.adapters.ccxt_exchanges import PRESETS, new_exchange
from services.marketdata.adapters.ccxt_pages import following, with_ids
from services.marketdata.adapters.ccxt_source import CcxtSource, open_ccxt_source
from services.marketdata.domain.book import BookDelta, BookSnapshot, Level
from services.marketdata.domain.market import Channel, Interval, TakerSide, Trade
from services.marketdata.domain.rules import Retention
from services.marketdata.ports.sources import SourceUnavailable
from services.marketdata.source_settings import sources_from
from tests import exchange_servers as servers
from tests.exchange_servers import ExchangeServer
from tests.marketdata import RefusedRows

KEPT = Retention(timedelta(days=36_500), timedelta(days=36_500))
NOON = datetime(2024, 3, 5, 12, tzinfo=UTC)


@asynccontextmanager
async def opened(exchange: str, url: str, symbol: str, refused: RefusedRows) -> AsyncIterator[CcxtSource]:
    (settings,) = sources_from(
        [{"kind": "exchange", "exchange": exchange, "base_url": url, "symbols": [symbol], "book_depth": 20}]
    )
    assert settings.kind == "exchange"
    async with open_ccxt_source(settings, refused, KEPT) as source:
        yield source


async def all_past(source: CcxtSource, start: datetime) -> list[Trade]:
    (symbol,) = await source.symbols()
    read: list[Trade] = []
    while page := await source.past_trades(symbol, read[-1] if read else None, start):
        read += page
    return read


async def has_asked() -> None:
    """Let what was just begun go on to where it waits for a message."""
    for _ in range(100):
        await asyncio.sleep(0)


async def next_numbers(source: CcxtSource, server: ExchangeServer, message: Any) -> list[int | None]:
    """The numbers of the live trades that come by ``message``, which is sent once they are subscribed to."""
    (symbol,) = await source.symbols()
    answer = asyncio.ensure_future(source.trades(symbol))
    async with asyncio.timeout(20):
        await server.subscribed.wait()
        await server.send(message)
        return [step.number for step in await answer if isinstance(step, Trade)]


async def test_okx_tells_the_same_trades_live_as_past() -> None:
    server, refused = ExchangeServer(trades=257), RefusedRows()
    async with (
        servers.serving(server, servers.okx(server), "/ws/v5/{channel}") as url,
        opened("okx", url, "BTC-USDT", refused) as source,
    ):
        (symbol,) = await source.symbols()
        assert (symbol.symbol, symbol.price_step, symbol.min_quantity) == (
            "BTC-USDT@okx",
            Decimal("0.1"),
            Decimal("0.00001"),
        )
        assert source.channels == {Channel.TRADES, Channel.BOOKS}
        assert Interval.FOUR_HOURS in source.intervals
        past = await all_past(source, NOON + timedelta(seconds=50))
        assert [trade.number for trade in past] == list(range(1050, 1257))
        assert past[0].price == Decimal("60105")
        assert past[1].taker_side is TakerSide.BUY

        server.trades += 3
        assert await next_numbers(source, server, servers.okx_trades(server, 1257, 1258)) == [1257, 1258]
        assert any('"trades-all"' in asked and asked.startswith("/ws/v5/business") for asked in server.asked)
        assert [trade.number for trade in await source.past_trades(symbol, past[-1], NOON)] == [1257, 1258, 1259]
        assert (await source.past_trades(symbol, past[-1], NOON))[0] == Trade(
            symbol.symbol,
            "1257",
            Decimal("60125.7"),
            Decimal("0.00012"),
            TakerSide.BUY,
            NOON + timedelta(seconds=257),
            NOON,
        )
    assert not refused.rows


async def test_okx_is_read_from_its_beginning_where_more_is_asked_for_than_it_has() -> None:
    server = ExchangeServer(trades=257)
    async with (
        servers.serving(server, servers.okx(server), "/ws/v5/{channel}") as url,
        opened("okx", url, "BTC-USDT", RefusedRows()) as source,
    ):
        past = await all_past(source, NOON - timedelta(days=3))
    assert [trade.number for trade in past] == list(range(1000, 1257))


async def test_an_order_book_is_a_snapshot_and_then_its_changes_and_a_lost_change_is_noticed() -> None:
    server = ExchangeServer(trades=1)
    async with (
        servers.serving(server, servers.okx(server), "/ws/v5/{channel}") as url,
        opened("okx", url, "BTC-USDT", RefusedRows()) as source,
    ):
        (symbol,) = await source.symbols()
        answer = asyncio.ensure_future(source.book(symbol))
        await server.subscribed.wait()
        await server.send(
            servers.okx_book("snapshot", 10, -1, [["60000.1", "1.5"], ["60000", "2"]], [["60000.3", "0.12345678"]])
        )
        (snapshot,) = await answer
        assert isinstance(snapshot, BookSnapshot)
        assert snapshot.bids[0] == Level(Decimal("60000.1"), Decimal("1.5"))
        assert snapshot.asks == (Level(Decimal("60000.3"), Decimal("0.12345678")),)

        answer = asyncio.ensure_future(source.book(symbol))
        await has_asked()
        await server.send(servers.okx_book("update", 15, 10, [["60000", "0"], ["59999.9", "3"]], []))
        (delta,) = await answer
        assert isinstance(delta, BookDelta)
        assert (delta.first_update_id, delta.last_update_id) == (11, 15)
        assert set(delta.bids) == {Level(Decimal(60000), Decimal(0)), Level(Decimal("59999.9"), Decimal(3))}

        answer = asyncio.ensure_future(source.book(symbol))
        await has_asked()
        await server.send(servers.okx_book("update", 30, 20, [["60000", "1"]], []))
        with pytest.raises(SourceUnavailable, match="InvalidNonce"):
            await answer


async def test_kraken_tells_the_same_trades_live_as_past() -> None:
    server, refused = ExchangeServer(trades=1_150), RefusedRows()
    async with (
        servers.serving(server, servers.kraken(server), "/v2") as url,
        opened("kraken", url, "BTC-USD", refused) as source,
    ):
        (symbol,) = await source.symbols()
        assert (symbol.symbol, symbol.price_step, symbol.min_notional) == (
            "BTC-USD@kraken",
            Decimal("0.1"),
            Decimal("0.5"),
        )
        past = await all_past(source, NOON + timedelta(seconds=100))
        assert [trade.number for trade in past] == list(range(1100, 2150))

        live = asyncio.ensure_future(source.trades(symbol))
        async with asyncio.timeout(20):
            await server.subscribed.wait()
            await server.send(servers.kraken_trades(server, 2149, 2150))
            told = [step for step in await live if isinstance(step, Trade)]
        assert told[0] == past[-1]
        assert told[1].number == 2150
    assert not refused.rows


def a_market(exchange: Any, market_id: str) -> Any:
    """The one market that ``exchange`` knows from now on."""
    market = exchange.safe_market_structure(
        {
            "id": market_id,
            "symbol": "BTC/USDT",
            "base": "BTC",
            "quote": "USDT",
            "baseId": "BTC",
            "quoteId": "USDT",
            "type": "spot",
            "spot": True,
            "active": True,
            "contract": False,
        }
    )
    exchange.set_markets([market])
    return exchange.market("BTC/USDT")


_SENT: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "binance": (
        "BTCUSDT",
        {"a": 26129, "p": "60000.10", "q": "0.00120", "f": 27781, "l": 27783, "T": 1709640000123, "m": True, "M": True},
        {
            "e": "aggTrade",
            "E": 1709640000125,
            "s": "BTCUSDT",
            "a": 26129,
            "p": "60000.10",
            "q": "0.00120",
            "f": 27781,
            "l": 27783,
            "T": 1709640000123,
            "m": True,
            "M": True,
        },
    ),
    "bybit": (
        "BTCUSDT",
        {
            "execId": "2290000000068683059",
            "symbol": "BTCUSDT",
            "price": "60000.10",
            "size": "0.00120",
            "side": "Sell",
            "time": "1709640000123",
            "isBlockTrade": False,
        },
        {
            "i": "2290000000068683059",
            "T": 1709640000123,
            "p": "60000.10",
            "v": "0.00120",
            "S": "Sell",
            "s": "BTCUSDT",
            "BT": False,
        },
    ),
    "coinbase": (
        "BTC-USDT",
        {
            "trade_id": "10092327",
            "product_id": "BTC-USDT",
            "price": "60000.10",
            "size": "0.00120",
            "time": "2024-03-05T12:00:00.123Z",
            "side": "SELL",
        },
        {
            "trade_id": "10092327",
            "product_id": "BTC-USDT",
            "price": "60000.10",
            "size": "0.00120",
            "time": "2024-03-05T12:00:00.123456Z",
            "side": "SELL",
        },
    ),
    "mexc": (
        "BTCUSDT",
        {"a": None, "f": None, "l": None, "p": "60000.10", "q": "0.00120", "T": 1709640000123, "m": True, "M": True},
        {"price": "60000.1", "quantity": "0.0012", "tradeType": 2, "time": 1709640000123},
    ),
}


@pytest.mark.parametrize("name", _SENT)
async def test_what_an_exchange_sends_live_is_the_trade_that_it_tells_later(name: str) -> None:
    market_id, past, live = _SENT[name]
    exchange = new_exchange(name, "", PRESETS[name])
    try:
        market = a_market(exchange, market_id)
        # Coinbase reads both in the same way.
        read_live = getattr(exchange, "parse_ws_trade", None) if name != "coinbase" else None
        rows = [exchange.parse_trade(past, market), (read_live or exchange.parse_trade)(live, market)]
    finally:
        await exchange.close()
    if not PRESETS[name].has_ids:
        rows = [with_ids([row])[0] for row in rows]
    told, later = ({key: row[key] for key in ("id", "timestamp", "side", "price", "amount")} for row in rows)
    assert told == later
    assert told["price"] == Decimal("60000.1")
    assert isinstance(told["amount"], Decimal)


@pytest.mark.parametrize("name", PRESETS)
async def test_every_preset_can_be_opened_and_has_what_is_needed(name: str) -> None:
    (settings,) = sources_from([{"kind": "exchange", "exchange": name}])
    assert settings.name == name
    assert settings.kind == "exchange"
    async with open_ccxt_source(settings, RefusedRows(), KEPT) as source:
        assert source.channels == {Channel.TRADES, Channel.BOOKS}
        assert {Interval.ONE_MINUTE, Interval.FIVE_MINUTES, Interval.ONE_HOUR, Interval.ONE_DAY} <= source.intervals
        assert Interval.ONE_SECOND not in source.intervals


def a_row(number: int | None, milliseconds: int, price: str = "1") -> dict[str, Any]:
    return {
        "id": None if number is None else str(number),
        "timestamp": milliseconds,
        "side": "buy",
        "price": Decimal(price),
        "amount": Decimal(2),
    }


def test_equal_trades_of_an_exchange_without_ids_are_told_apart_by_their_count() -> None:
    rows = with_ids([a_row(None, 5), a_row(None, 5), a_row(None, 5, "1.5"), a_row(None, 6)])
    assert [row["id"] for row in rows] == ["5-buy-1-2", "5-buy-1-2-2", "5-buy-1.5-2", "6-buy-1-2"]


def test_what_follows_a_trade_is_told_by_number_or_by_place() -> None:
    rows = [a_row(number, 10 * (number // 3)) for number in (9, 3, 4, 10, 5)]
    after = Trade("A-B@c", "4", Decimal(1), Decimal(2), TakerSide.BUY, datetime.fromtimestamp(0.01, UTC), NOON)
    assert [row["id"] for row in following(rows, after, NOON, numbered=True)] == ["5", "9", "10"]
    assert [row["id"] for row in following(rows, after, NOON, numbered=False)] == ["5", "9", "10"]
    start = datetime.fromtimestamp(0.03, UTC)
    assert [row["id"] for row in following(rows, None, start, numbered=True)] == ["9", "10"]
