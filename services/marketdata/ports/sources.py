"""Where market data comes from."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Protocol

from services.marketdata.domain.book import BookChange
from services.marketdata.domain.market import AssetType, Candle, Channel, Interval, SourceKind, Symbol, Trade
from services.marketdata.domain.rates import Rate
from services.marketdata.domain.sequence import Step


class SourceUnavailable(Exception):
    """The source did not do what was asked; its text says what to do about it. Asking again may help."""


class SourceFinished(SourceUnavailable):
    """All that the source will ever have was taken in, for example a file that was read to its end."""


class Source(Protocol):
    """A market whose data can be followed. Every method raises SourceUnavailable.

    A source translates and checks rows (extract and transform); it stores none. A row that breaks a rule goes to the
    ``Quarantine`` that the source was given, and is not returned. What a source cannot do is not among its ``channels``
    and ``intervals``, and is never asked for.
    """

    @property
    def name(self) -> str:
        """The name that ends the ids of its symbols."""

    @property
    def kind(self) -> SourceKind:
        """What kind of source it is."""

    @property
    def asset_type(self) -> AssetType:
        """What is traded there."""

    @property
    def channels(self) -> frozenset[Channel]:
        """What it has live: TRADES, BOOKS, or neither; CANDLES when its candles are to be polled as they come."""

    @property
    def intervals(self) -> frozenset[Interval]:
        """The candles that it has of its own."""

    async def reconnect(self) -> None:
        """Give up the connections by which data comes: what waits for it raises SourceUnavailable, and connects anew.

        It is called when nothing has come for longer than a source may be silent.
        """

    async def symbols(self) -> list[Symbol]:
        """The markets that the settings name."""

    async def market(self, symbol: str, source_symbol: str) -> Symbol | None:
        """The market that is to have the id ``symbol``, or None; ``source_symbol`` may be empty."""

    async def now(self) -> datetime:
        """The time by the source's own clock."""

    async def candles(self, symbol: Symbol, interval: Interval, start: datetime) -> list[Candle]:
        """The first candles that open at ``start`` or later, by time; the last may not be over yet.

        Intervals of which the source has no candle are left out. Empty when there are none.
        """

    async def trades(self, symbol: Symbol) -> list[Step]:
        """Wait for trades, and return whatever has arrived since the call before.

        To miss none, the caller calls again before it awaits anything else. After SourceUnavailable trades may be
        missing. In place of a trade that breaks a rule stands a Break.
        """

    async def past_trades(self, symbol: Symbol, after: Trade | None, start: datetime) -> Sequence[Trade]:
        """A page of the trades that follow ``after``, or that happened at ``start`` or later where it is None.

        The oldest first. Empty when the source has none such (any more); a source that tells only its newest trades may
        leave out the first of them.
        """

    async def book(self, symbol: Symbol) -> list[BookChange]:
        """Wait for changes of the order book, and return whatever has arrived since the call before.

        The first that is returned, and the first after SourceUnavailable, is a snapshot. The caller checks the numbers
        of what follows; ``resync_book`` gives a new snapshot.
        """

    async def resync_book(self, symbol: Symbol) -> None:
        """Let ``book`` begin again with a snapshot."""


class RateSource(Protocol):
    """Where reference rates of currencies come from. Every method raises SourceUnavailable."""

    @property
    def name(self) -> str:
        """The name of the source."""

    @property
    def kind(self) -> SourceKind:
        """What kind of source it is."""

    async def rates(self, since: date) -> list[Rate]:
        """The rates of ``since`` and all later days that there are, by day."""
