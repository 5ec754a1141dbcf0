"""Websocket events."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from services.simex import wire
from services.simex.errors import ApiError
from services.simex.feed import Feed
from services.simex.market import Market
from services.simex.streams import parse_stream
from tests.unit.simex.builders import (
    MINUTE_MS,
    MONDAY_MS,
    HandClock,
    a_replay,
    a_stochastic_market,
    the_books,
    write_trades,
)


class Listener:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def deliver(self, stream: str, data: str) -> None:
        self.events.append((stream, json.loads(data)))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for stream, event in self.events if stream.split("@")[1].startswith(kind)]


def a_feed(*names: str) -> tuple[Market, HandClock, Feed, Listener]:
    market, clock = a_stochastic_market(days=0.3)
    feed, listener = Feed(market, the_books(market), 0.05), Listener()
    for name in names:
        feed.subscribe(parse_stream(name), listener)
    return market, clock, feed, listener


def test_trades_are_told_once_with_the_ids_and_amounts_of_rest() -> None:
    market, clock, feed, listener = a_feed("btcusdt@trade", "btcusdt@aggTrade")
    start_ms = clock.now_ms()
    for _ in range(40):
        clock.advance(1_700)
        feed.send_round()

    listing = market.listings["BTCUSDT"]
    rest = wire.trades(listing.instrument, listing.trades(start_ms + 1, clock.now_ms() + 1))
    told = [(event["t"], event["p"], event["q"], event["T"], event["m"]) for event in listener.of("trade")]
    assert told == [(row["id"], row["price"], row["qty"], row["time"], row["isBuyerMaker"]) for row in rest]
    assert [event["a"] for event in listener.of("aggTrade")] == [row["id"] for row in rest]


def test_a_trade_at_the_very_time_of_a_round_is_told_once(tmp_path: Path) -> None:
    write_trades(tmp_path / "x_A-B_trades.parquet", [(MONDAY_MS + n * 1000, n + 1, 10.0, 1.0, 1) for n in range(9)])
    market, clock = a_replay(tmp_path, MONDAY_MS)
    feed, listener = Feed(market, the_books(market), 0.05), Listener()
    feed.subscribe(parse_stream("ab@trade"), listener)
    for _ in range(4):
        clock.advance(1000)
        feed.send_round()

    assert [event["t"] for event in listener.of("trade")] == [2, 3, 4, 5]


@pytest.mark.parametrize("step_ms", [250, 15_000, 200_000])
def test_candles_close_once_as_rest_has_them_and_before_the_trades_that_follow(step_ms: int) -> None:
    market, clock, feed, listener = a_feed("btcusdt@trade", "btcusdt@kline_1m")
    first_ms = clock.now_ms() // MINUTE_MS * MINUTE_MS
    while clock.now_ms() < first_ms + 7 * MINUTE_MS:
        clock.advance(step_ms)
        feed.send_round()

    closed = [event for event in listener.of("kline") if event["k"]["x"]]
    listing = market.listings["BTCUSDT"]
    end_ms = clock.now_ms() // MINUTE_MS * MINUTE_MS
    rows = wire.klines(listing.instrument, listing.klines(MINUTE_MS, first_ms, end_ms), MINUTE_MS)
    names = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q")
    assert [[event["k"][name] for name in names] for event in closed] == [row[:11] for row in rows]
    times = [event["T"] if event["e"] == "trade" else event["E"] for _, event in listener.events]
    assert times == sorted(times)
    for index, (_, event) in enumerate(listener.events):
        if event["e"] == "kline" and event["k"]["x"]:
            assert all(later["T"] > event["k"]["T"] for _, later in listener.events[index:] if later["e"] == "trade")


def test_a_forming_candle_has_only_what_has_happened() -> None:
    _, clock, feed, listener = a_feed("btcusdt@trade", "btcusdt@kline_1m")
    clock.advance(MINUTE_MS - clock.now_ms() % MINUTE_MS)
    feed.send_round()
    listener.events.clear()
    for _ in range(10):
        clock.advance(3000)
        feed.send_round()

    forming = listener.of("kline")[-1]["k"]

    assert forming["n"] == len(listener.of("trade"))
    assert (forming["L"], forming["c"]) == (listener.of("trade")[-1]["t"], listener.of("trade")[-1]["p"])
    assert not forming["x"]


def test_depth_updates_follow_each_other_from_the_snapshot_on_at_both_paces() -> None:
    market, clock = a_stochastic_market(days=0.3)
    books, listener = the_books(market), Listener()
    feed, maker = Feed(market, books, 0.05), books["BTCUSDT"]
    for name in ("btcusdt@depth@100ms", "btcusdt@depth"):
        feed.subscribe(parse_stream(name), listener)
    snapshot = maker.now()
    for _ in range(200):
        clock.advance(50)
        feed.send_round()
    now = maker.now()

    for name, most in (("btcusdt@depth@100ms", 100), ("btcusdt@depth", 10)):
        updates = [event for stream, event in listener.events if stream == name]
        assert 3 < len(updates) <= most
        assert updates[0]["U"] == snapshot.version + 1
        assert all(later["U"] == earlier["u"] + 1 for earlier, later in pairwise(updates))
        instrument = market.listings["BTCUSDT"].instrument
        bids = dict(wire.levels(instrument, snapshot.bids, 500))
        for update in updates:
            bids.update(dict(update["b"]))
        left = {price: size for price, size in bids.items() if float(size)}
        assert left == dict(wire.levels(instrument, now.bids, 500))


def test_the_best_prices_are_told_when_they_change() -> None:
    _, clock, feed, listener = a_feed("btcusdt@bookTicker")
    feed.send_round()
    feed.send_round()
    assert len(listener.events) == 1

    clock.advance(60_000)
    feed.send_round()

    one, other = (event for _, event in listener.events)
    assert one["u"] < other["u"]
    assert float(other["b"]) < float(other["a"])


def test_partial_books_and_day_tickers_come_every_second() -> None:
    market, clock, feed, listener = a_feed("btcusdt@depth5", "btcusdt@ticker", "btcusdt@miniTicker")
    for _ in range(40):
        clock.advance(50)
        feed.send_round()

    assert [len(event["bids"]) for event in listener.of("depth5")] == [5, 5]
    [_, full] = listener.of("ticker")
    [_, mini] = listener.of("miniTicker")
    listing = market.listings["BTCUSDT"]
    row = wire.day_ticker(listing, listing.day(), the_books(market)["BTCUSDT"].now())
    assert (full["c"], full["v"], full["n"]) == (row["lastPrice"], row["volume"], row["count"])
    assert mini.items() - full.items() == {("e", "24hrMiniTicker")}


def test_who_has_unsubscribed_hears_nothing() -> None:
    _, clock, feed, listener = a_feed("btcusdt@trade", "btcusdt@depth@100ms")
    for name in ("btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@trade"):
        feed.unsubscribe(parse_stream(name), listener)

    clock.advance(60_000)
    feed.send_round()

    assert listener.events == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "btcusdt",
        "btcusdt@",
        "btcusdt@trades",
        "btcusdt@kline_7m",
        "btcusdt@depth7",
        "BTCUSDT@trade",
        "btcusdt@trade@100ms",
    ],
)
def test_a_stream_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ApiError):
        parse_stream(name)
