"""Symbols, trades and candles."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact
from enum import Enum

_EXACT = Context(prec=60, traps=[Inexact])


class Interval(Enum):
    """The length of a candle."""

    ONE_SECOND = 1
    FIVE_SECONDS = 5
    ONE_MINUTE = 60
    FIVE_MINUTES = 300
    FIFTEEN_MINUTES = 900
    ONE_HOUR = 3_600
    FOUR_HOURS = 14_400
    ONE_DAY = 86_400

    @property
    def length(self) -> timedelta:
        """The length as a span of time."""
        return timedelta(seconds=self.value)

    def floor(self, moment: datetime) -> datetime:
        """When the interval that contains ``moment`` begins."""
        return datetime.fromtimestamp(int(moment.timestamp()) // self.value * self.value, UTC)


class AssetType(Enum):
    """What is traded."""

    CRYPTO = "crypto"
    FX = "fx"
    EQUITY = "equity"


class SymbolState(Enum):
    """Whether market data of a symbol is gathered."""

    ACTIVE = "active"
    INACTIVE = "inactive"


class SourceKind(Enum):
    """A way to get market data."""

    EXCHANGE = "exchange"
    EQUITY = "equity"
    ECB = "ecb"
    RATES = "rates"
    FILE = "file"
    INGEST = "ingest"


class Channel(Enum):
    """A kind of market data."""

    TRADES = "trades"
    CANDLES = "candles"
    BOOKS = "books"
    TICKERS = "tickers"
    INDICATORS = "indicators"


class TakerSide(Enum):
    """The side of the order that took liquidity."""

    UNKNOWN = "unknown"
    BUY = "buy"
    SELL = "sell"


class Origin(Enum):
    """How a candle was made: here from every trade, by the source, or here from complete shorter candles."""

    TRADES = "trades"
    SOURCE = "source"
    ROLL_UP = "roll_up"


@dataclass(frozen=True, slots=True)
class Symbol:
    """One market of one source; a change of it is another ``version``, which is taken as a whole."""

    symbol: str
    """The id, ``<base>-<quote>@<source>``."""
    base: str
    quote: str
    source: str
    source_symbol: str
    """The name that the source has for it."""
    price_step: Decimal
    quantity_step: Decimal
    min_notional: Decimal
    asset_type: AssetType = AssetType.CRYPTO
    state: SymbolState = SymbolState.ACTIVE
    min_quantity: Decimal | None = None
    max_quantity: Decimal | None = None
    book_depth: int = 0
    """How many price levels of each side of the order book are followed; 0 for none."""
    version: int = 1
    create_time: datetime | None = field(default=None, compare=False)
    update_time: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Trade:
    """One execution. Equal when the source says that it is the same; when it reached us does not count."""

    symbol: str
    trade_id: str
    price: Decimal
    quantity: Decimal
    taker_side: TakerSide
    trade_time: datetime
    receive_time: datetime = field(compare=False)
    sequence: int = field(default=0, compare=False)
    """Its place in the line of the symbol's stored trades, from 1; 0 while it is not stored."""

    @property
    def number(self) -> int | None:
        """The id as a number; None where the source's ids are none, so that they tell nothing about order."""
        return int(self.trade_id) if self.trade_id.isascii() and self.trade_id.isdigit() else None

    @property
    def place(self) -> tuple[datetime, int, str]:
        """Sorts the trades of a symbol in the order in which they happened, as far as time and id tell it."""
        return self.trade_time, len(self.trade_id), self.trade_id


@dataclass(frozen=True, slots=True)
class Candle:
    """The trades of a symbol in one interval, summed up."""

    symbol: str
    interval: Interval
    open_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    origin: Origin = field(compare=False)
    revision: int = field(default=0, compare=False)
    """Raised by every correction after it was first complete."""
    sequence: int = field(default=0, compare=False)
    """Its place in the line of the published candles of its symbol and interval, from 1; 0 for history."""

    @property
    def close_time(self) -> datetime:
        """When the interval ends; a trade at this very time belongs to the next."""
        return self.open_time + self.interval.length

    def flat_at(self, open_time: datetime, origin: Origin) -> "Candle":
        """A candle without trades: this one's close as all four prices, and no volume."""
        price = self.close
        return Candle(self.symbol, self.interval, open_time, price, price, price, price, Decimal(0), origin)

    def quiet_until(self, open_time: datetime, origin: Origin) -> list["Candle"]:
        """The candles without trades between this one and the one that opens at ``open_time``."""
        count = (open_time - self.close_time) // self.interval.length
        return [self.flat_at(self.close_time + index * self.interval.length, origin) for index in range(count)]


def exact(number: Decimal) -> Decimal:
    """``number`` without trailing zeros, nothing rounded. Raises ArithmeticError where it has more than 60 digits."""
    return number.normalize(_EXACT)


def total(quantities: list[Decimal]) -> Decimal:
    """The exact sum."""
    amount = Decimal(0)
    for quantity in quantities:
        amount = _EXACT.add(amount, quantity)
    return amount
