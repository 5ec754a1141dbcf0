"""Websocket events: what has happened since the round before, once for all who listen."""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Iterator
from typing import Protocol

from services.simex import errors, events, wire
from services.simex.book import BookChanges, BookMaker
from services.simex.intervals import INTERVALS_MS
from services.simex.market import Listing, Market
from services.simex.streams import Stream
from services.simex.wire import Json

_TICKER_PACE_MS = 1000

_log = logging.getLogger(__name__)

Event = tuple[int, Stream, Json]
"""When it happened, the stream it belongs to and what it says."""


class Listener(Protocol):
    """Where events go."""

    def deliver(self, stream: str, data: str) -> None:
        """Take an event (JSON) of ``stream`` without waiting."""


class Feed:
    """Sends events to listeners in rounds, those of each symbol in the order of time."""

    def __init__(self, market: Market, books: dict[str, BookMaker], round_seconds: float) -> None:
        self._market = market
        self._books = books
        self._round_seconds = round_seconds
        self._rounds = 0
        self._told_ms = market.clock.now_ms()
        self._listeners: dict[Stream, set[Listener]] = {}
        self._changes: dict[Stream, BookChanges] = {}
        self._shown: dict[Stream, Json] = {}

    def check(self, stream: Stream) -> None:
        """Raise ApiError when the symbol of ``stream`` is unknown."""
        if stream.symbol not in self._market.listings:
            raise errors.bad_symbol()

    def subscribe(self, stream: Stream, listener: Listener) -> None:
        """Send the events of ``stream``, which has been checked, from now on."""
        if stream not in self._listeners and stream.kind == "depth" and not stream.levels:
            self._changes[stream] = self._books[stream.symbol].follow()
        self._listeners.setdefault(stream, set()).add(listener)

    def unsubscribe(self, stream: Stream, listener: Listener) -> None:
        """Send no more of ``stream``."""
        listeners = self._listeners.get(stream, set())
        listeners.discard(listener)
        if not listeners and self._listeners.pop(stream, None) is not None:
            self._shown.pop(stream, None)
            if (changes := self._changes.pop(stream, None)) is not None:
                self._books[stream.symbol].unfollow(changes)

    async def run(self) -> None:
        """Send a round of events again and again."""
        while True:
            try:
                self.send_round()
            except Exception:  # noqa: BLE001 - one bad round must not silence the streams
                _log.exception("a round of events failed")
            await asyncio.sleep(self._round_seconds)

    def send_round(self) -> None:
        """Send what has happened since the round before."""
        after_ms, now_ms = self._told_ms, self._market.clock.now_ms()
        self._told_ms = now_ms
        self._rounds += 1
        by_symbol: dict[str, list[Stream]] = defaultdict(list)
        for stream in self._listeners:
            by_symbol[stream.symbol].append(stream)
        for symbol, streams in by_symbol.items():
            news = list(self._events(self._market.listings[symbol], streams, after_ms, now_ms))
            for _, stream, event in sorted(news, key=lambda event: event[0]):
                data = json.dumps(event, separators=(",", ":"))
                for listener in tuple(self._listeners.get(stream, ())):
                    listener.deliver(stream.name, data)

    def _events(self, listing: Listing, streams: list[Stream], after_ms: int, now_ms: int) -> Iterator[Event]:
        """Events of one symbol; where times are equal, a candle that closes comes before the trades that follow it."""
        instrument = listing.instrument
        forming: list[Event] = []
        trades = listing.trades(after_ms + 1, now_ms + 1)
        for stream in streams:
            if stream.kind == "kline":
                for event in _kline_events(listing, stream, after_ms, now_ms, changed=len(trades) > 0):
                    if event[2]["k"]["x"]:
                        yield event
                    else:
                        forming.append(event)
        for stream in streams:
            if stream.kind == "trade":
                yield from ((event["T"], stream, event) for event in events.trade_events(instrument, trades))
            elif stream.kind == "aggTrade":
                yield from ((event["T"], stream, event) for event in events.aggregate_trade_events(instrument, trades))
        yield from forming
        for stream in streams:
            if (news := self._book_event(listing, stream, now_ms)) is not None:
                yield now_ms, stream, news

    def _book_event(self, listing: Listing, stream: Stream, now_ms: int) -> Json | None:
        """The news of a stream that tells of the book or the last day, when it is due and there is any."""
        instrument, maker = listing.instrument, self._books[stream.symbol]
        if stream.kind == "bookTicker":
            book = maker.now()
            shown = events.book_ticker_event(instrument, book)
            same = {**self._shown.get(stream, {}), "u": book.version} == shown
            self._shown[stream] = shown
            return None if same else shown
        if stream.kind == "depth" and self._is_due(stream.pace_ms):
            if stream.levels:
                return wire.depth(instrument, maker.now(), stream.levels)
            changed = self._changes[stream].take(maker.now())
            return None if changed is None else events.depth_update(instrument, *changed, now_ms)
        if stream.kind in ("ticker", "miniTicker") and self._is_due(_TICKER_PACE_MS):
            make = events.day_ticker_event if stream.kind == "ticker" else events.mini_ticker_event
            return make(wire.day_ticker(listing, listing.day(), maker.now()), now_ms)
        return None

    def _is_due(self, pace_ms: int) -> bool:
        return self._rounds % max(1, round(pace_ms / 1000 / self._round_seconds)) == 0


def _kline_events(listing: Listing, stream: Stream, after_ms: int, now_ms: int, *, changed: bool) -> Iterator[Event]:
    """The candles that have closed, and the one that is forming when it has ``changed``."""
    interval_ms = INTERVALS_MS[stream.interval]
    candles = listing.klines(interval_ms, after_ms // interval_ms * interval_ms, now_ms + 1)
    for row, open_ms in enumerate(candles.open_ms.tolist()):
        close_ms = open_ms + interval_ms
        if close_ms <= now_ms or changed:
            event_ms = min(close_ms, now_ms)
            candle = candles[row : row + 1]
            event = events.kline_event(listing.instrument, candle, stream.interval, interval_ms, event_ms)
            yield event_ms, stream, event
