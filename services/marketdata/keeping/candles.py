"""What a replica needs for candles: their way to the journal, and keepers while it leads a source."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from services.marketdata.adapters.journal import CANDLES, candle_lines
from services.marketdata.domain.market import Candle, Channel, Interval, SourceKind, Symbol
from services.marketdata.domain.roll_up import PART, ROLLED_UP
from services.marketdata.feeding.line_publisher import LinePublisher
from services.marketdata.keeping.candle_keeper import CandleKeeper
from services.marketdata.ports.candles import CandleStore
from services.marketdata.ports.gaps import GapStore
from services.marketdata.ports.leases import Lease
from services.marketdata.ports.lines import Lines
from services.marketdata.ports.sources import Source
from services.marketdata.ports.trades import TradeStore
from services.runtime.journal import Journal

_FROM_TRADES = (Interval.ONE_SECOND, Interval.FIVE_SECONDS)
_EITHER = (Interval.ONE_MINUTE, PART)


class CandlePublishers:
    """Publishes the candles of all intervals."""

    def __init__(self, store: CandleStore, journal: Journal, lines: Lines) -> None:
        self._publishers = {
            interval: LinePublisher(candle_lines(interval, store), journal, lines) for interval in CANDLES
        }

    def offer(self, candles: Sequence[Candle]) -> None:
        """Publish those of these stored candles of one symbol that have a place in their line; never waits."""
        for interval, publisher in self._publishers.items():
            rows = [candle for candle in candles if candle.interval is interval and candle.sequence]
            if rows:
                publisher.offer(rows[0].symbol, sorted(rows, key=lambda candle: candle.sequence))

    def work(self, symbols: Callable[[], Iterable[str]]) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """What has to run, by name: publishing, and watching over the lines of ``symbols``."""
        works: dict[str, Callable[[], Awaitable[None]]] = {}
        for interval, publisher in self._publishers.items():
            works[f"{interval.value} s candle publisher"] = publisher.run
            works[f"{interval.value} s candle lines"] = partial(publisher.watch_over, symbols)
        return works


@dataclass(frozen=True)
class Keeping:
    """Makes the keepers of candles."""

    trades: TradeStore
    candles: CandleStore
    gaps: GapStore
    publish: Callable[[Sequence[Candle]], None]
    history: Mapping[Interval, timedelta]
    """How much history of each interval is fetched from sources that have it."""
    trades_kept: timedelta

    def keeper(
        self, source: Source, symbol: Symbol, lease: Lease | None, is_stored: Callable[[], bool]
    ) -> CandleKeeper:
        """The keeper of a symbol's candles, while this replica leads ``source``."""
        return CandleKeeper(
            symbol,
            _spans(source, self.history),
            source,
            self.trades,
            self.candles,
            self.gaps,
            lease,
            self.publish,
            is_stored,
            kept=self.trades_kept,
            is_followed=Channel.TRADES in source.channels,
        )


def fetched(source: Source) -> list[Interval]:
    """The intervals of which the history is fetched from ``source``."""
    spans = _spans(source, dict.fromkeys(Interval, timedelta(0)))
    return [interval for interval, span in spans.items() if span is not None]


def _spans(source: Source, history: Mapping[Interval, timedelta]) -> dict[Interval, timedelta | None]:
    """Which candles of a source are kept, and how much of their history is fetched; None where trades make them."""
    trades = Channel.TRADES in source.channels or source.kind is SourceKind.INGEST
    spans: dict[Interval, timedelta | None] = dict.fromkeys(_FROM_TRADES) if trades else {}
    for interval in _EITHER:
        if interval in source.intervals:
            spans[interval] = history[interval]
        elif trades:
            spans[interval] = None
    for interval in ROLLED_UP:
        if PART not in spans and interval in source.intervals:
            spans[interval] = history[interval]
    return spans
