"""Public market data in Binance's JSON."""

from decimal import Decimal
from typing import Any

from services.simex.book import Book
from services.simex.columns import Candles, Trades
from services.simex.instrument import Instrument, fixed_point
from services.simex.market import DayStatistics, Listing

Json = dict[str, Any]

ORDER_TYPES = ("LIMIT", "LIMIT_MAKER", "MARKET")


def symbol_info(listing: Listing) -> Json:
    """One entry of ``exchangeInfo``."""
    instrument = listing.instrument
    step, tick = (_plain(size) for size in (instrument.step_size, instrument.tick_size))
    max_quantity = _plain(instrument.max_quantity)
    return {
        "symbol": instrument.symbol,
        "status": "TRADING" if listing.is_open() else "BREAK",
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": list(ORDER_TYPES),
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": _plain(instrument.max_price),
                "tickSize": tick,
            },
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": max_quantity, "stepSize": step},
            {
                "filterType": "NOTIONAL",
                "minNotional": _plain(instrument.min_notional),
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE"],
    }


def klines(instrument: Instrument, candles: Candles, interval_ms: int) -> list[list[Any]]:
    """Rows of ``klines``."""
    price, quantity, quote = instrument.price_text, instrument.quantity_text, instrument.quote_text
    return [
        [
            open_ms,
            price(first),
            price(high),
            price(low),
            price(close),
            quantity(volume),
            open_ms + interval_ms - 1,
            quote(amount),
            trades,
            quantity(taker_volume),
            quote(taker_amount),
            "0",
        ]
        for open_ms, first, high, low, close, volume, amount, trades, taker_volume, taker_amount in zip(
            candles.open_ms.tolist(),
            candles.open.tolist(),
            candles.high.tolist(),
            candles.low.tolist(),
            candles.close.tolist(),
            candles.volume.tolist(),
            candles.quote_volume.tolist(),
            candles.trades.tolist(),
            candles.taker_volume.tolist(),
            candles.taker_quote_volume.tolist(),
            strict=True,
        )
    ]


def trades(instrument: Instrument, columns: Trades) -> list[Json]:
    """Rows of ``trades`` and ``historicalTrades``."""
    return [
        {
            "id": trade_id,
            "price": instrument.price_text(price),
            "qty": instrument.quantity_text(quantity),
            "quoteQty": instrument.quote_text(price * quantity),
            "time": time_ms,
            "isBuyerMaker": not taker_buy,
            "isBestMatch": True,
        }
        for trade_id, time_ms, price, quantity, taker_buy in columns.rows()
    ]


def aggregate_trades(instrument: Instrument, columns: Trades) -> list[Json]:
    """Rows of ``aggTrades``: each trade is an aggregate of its own, with the same id."""
    return [
        {
            "a": trade_id,
            "p": instrument.price_text(price),
            "q": instrument.quantity_text(quantity),
            "f": trade_id,
            "l": trade_id,
            "T": time_ms,
            "m": not taker_buy,
            "M": True,
        }
        for trade_id, time_ms, price, quantity, taker_buy in columns.rows()
    ]


def levels(instrument: Instrument, side: dict[int, int], limit: int) -> list[list[str]]:
    """The best ``limit`` levels of one side of a book."""
    return [
        [instrument.price_text(price), instrument.quantity_text(quantity)]
        for price, quantity in list(side.items())[:limit]
    ]


def depth(instrument: Instrument, book: Book, limit: int) -> Json:
    """A snapshot of the book."""
    return {
        "lastUpdateId": book.version,
        "bids": levels(instrument, book.bids, limit),
        "asks": levels(instrument, book.asks, limit),
    }


def book_ticker(instrument: Instrument, book: Book) -> Json:
    """The best bid and ask."""
    ((bid, bid_size),) = levels(instrument, book.bids, 1) or [["0.00000000", "0.00000000"]]
    ((ask, ask_size),) = levels(instrument, book.asks, 1) or [["0.00000000", "0.00000000"]]
    return {"symbol": instrument.symbol, "bidPrice": bid, "bidQty": bid_size, "askPrice": ask, "askQty": ask_size}


def day_ticker(listing: Listing, day: DayStatistics, book: Book) -> Json:
    """``ticker/24hr`` of one symbol."""
    instrument, candle, previous = listing.instrument, day.candle, day.previous_close
    traded = len(candle) > 0
    opened, high, low, last = (
        (int(column[0]) if traded else previous) for column in (candle.open, candle.high, candle.low, candle.close)
    )
    volume, quote = (int(candle.volume[0]), int(candle.quote_volume[0])) if traded else (0, 0)
    last_trade = listing.last_trades(1)
    average = instrument.price(0) if not volume else Decimal(quote) / volume * instrument.tick_size
    percent = Decimal(last - opened) * 100 / opened if opened else Decimal(0)
    return {
        "symbol": instrument.symbol,
        "priceChange": instrument.price_text(last - opened),
        "priceChangePercent": f"{percent:.3f}",
        "weightedAvgPrice": f"{average:.8f}",
        "prevClosePrice": instrument.price_text(previous),
        "lastPrice": instrument.price_text(last),
        "lastQty": instrument.quantity_text(int(last_trade.quantities[0]) if len(last_trade) else 0),
        **{name: value for name, value in book_ticker(instrument, book).items() if name != "symbol"},
        "openPrice": instrument.price_text(opened),
        "highPrice": instrument.price_text(high),
        "lowPrice": instrument.price_text(low),
        "volume": instrument.quantity_text(volume),
        "quoteVolume": instrument.quote_text(quote),
        "openTime": day.start_ms,
        "closeTime": day.end_ms,
        "firstId": int(candle.first_id[0]) if traded else -1,
        "lastId": int(candle.last_id[0]) if traded else -1,
        "count": int(candle.trades[0]) if traded else 0,
    }


def _plain(amount: Decimal) -> str:
    places = max(0, -int(amount.as_tuple().exponent))
    return fixed_point(int(amount.scaleb(places)), places)
