"""Websocket events in Binance's JSON."""

from collections.abc import Iterator

from services.simex import wire
from services.simex.book import Book
from services.simex.columns import Candles, Trades
from services.simex.instrument import Instrument
from services.simex.wire import Json


def kline_event(instrument: Instrument, candles: Candles, interval: str, interval_ms: int, event_ms: int) -> Json:
    """A ``kline`` event of the only row of ``candles``."""
    (row,) = wire.klines(instrument, candles, interval_ms)
    return {
        "e": "kline",
        "E": event_ms,
        "s": instrument.symbol,
        "k": {
            "t": row[0],
            "T": row[6],
            "s": instrument.symbol,
            "i": interval,
            "f": int(candles.first_id[0]),
            "L": int(candles.last_id[0]),
            "o": row[1],
            "c": row[4],
            "h": row[2],
            "l": row[3],
            "v": row[5],
            "n": row[8],
            "x": event_ms > row[6],
            "q": row[7],
            "V": row[9],
            "Q": row[10],
            "B": "0",
        },
    }


def trade_events(instrument: Instrument, columns: Trades) -> Iterator[Json]:
    """``trade`` events."""
    for trade_id, time_ms, price, quantity, taker_buy in columns.rows():
        yield {
            "e": "trade",
            "E": time_ms,
            "s": instrument.symbol,
            "t": trade_id,
            "p": instrument.price_text(price),
            "q": instrument.quantity_text(quantity),
            "T": time_ms,
            "m": not taker_buy,
            "M": True,
        }


def aggregate_trade_events(instrument: Instrument, columns: Trades) -> Iterator[Json]:
    """``aggTrade`` events."""
    for row in wire.aggregate_trades(instrument, columns):
        yield {"e": "aggTrade", "E": row["T"], "s": instrument.symbol, **row}


def book_ticker_event(instrument: Instrument, book: Book) -> Json:
    """An event of ``bookTicker``, which has no type and no time."""
    row = wire.book_ticker(instrument, book)
    names = {"s": "symbol", "b": "bidPrice", "B": "bidQty", "a": "askPrice", "A": "askQty"}
    return {"u": book.version, **{short: row[name] for short, name in names.items()}}


def day_ticker_event(row: Json, event_ms: int) -> Json:
    """A ``24hrTicker`` event of a row of ``ticker/24hr``."""
    names = {
        "p": "priceChange",
        "P": "priceChangePercent",
        "w": "weightedAvgPrice",
        "x": "prevClosePrice",
        "c": "lastPrice",
        "Q": "lastQty",
        "b": "bidPrice",
        "B": "bidQty",
        "a": "askPrice",
        "A": "askQty",
        "o": "openPrice",
        "h": "highPrice",
        "l": "lowPrice",
        "v": "volume",
        "q": "quoteVolume",
        "O": "openTime",
        "C": "closeTime",
        "F": "firstId",
        "L": "lastId",
        "n": "count",
    }
    return {
        "e": "24hrTicker",
        "E": event_ms,
        "s": row["symbol"],
        **{short: row[name] for short, name in names.items()},
    }


def mini_ticker_event(row: Json, event_ms: int) -> Json:
    """A ``24hrMiniTicker`` event of a row of ``ticker/24hr``."""
    full = day_ticker_event(row, event_ms)
    return {**{name: full[name] for name in "Escohlvq"}, "e": "24hrMiniTicker"}


def depth_update(instrument: Instrument, first_id: int, changed: Book, event_ms: int) -> Json:
    """A ``depthUpdate`` event of the levels that have changed, 0 where a level is gone."""
    return {
        "e": "depthUpdate",
        "E": event_ms,
        "s": instrument.symbol,
        "U": first_id,
        "u": changed.version,
        "b": wire.levels(instrument, changed.bids, len(changed.bids)),
        "a": wire.levels(instrument, changed.asks, len(changed.asks)),
    }
