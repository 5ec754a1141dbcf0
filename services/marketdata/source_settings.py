"""The settings of sources: a list of them, each with its kind and what that kind needs."""

import json
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from services.marketdata.domain.market import AssetType, Interval, SourceKind

_PAIR = re.compile(r"[A-Z0-9.]+-[A-Z0-9]+")
_TICKER = re.compile(r"[A-Z0-9.^=-]+")
_CURRENCY = r"^[A-Z]{3}$"
_URL = r"^(https?://[^/]+(/.*)?)?$"

INTERVALS = {
    "1m": Interval.ONE_MINUTE,
    "5m": Interval.FIVE_MINUTES,
    "15m": Interval.FIFTEEN_MINUTES,
    "1h": Interval.ONE_HOUR,
    "4h": Interval.FOUR_HOURS,
    "1d": Interval.ONE_DAY,
}
"""The intervals of candles that a source can have of its own, by the name that they have everywhere."""


class _Source(BaseModel):
    """What every source has."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(default="", pattern=r"^[a-z0-9_]*$", max_length=32)
    """The source's name, which ends the ids of its symbols; by default what it is called in its kind, such as ``okx``.
    Another market needs another name: candles of two markets under one name are refused."""
    settle_seconds: float = Field(default=1.0, gt=0)
    """How long after the source has told its time everything that happened before that has reached us."""
    silent_seconds: float = Field(default=60.0, gt=0)
    """How long it may be silent before it is connected anew."""
    future_seconds: float = Field(default=10.0, ge=0)
    """How much later than its own clock's time something may be said to have happened."""

    @property
    def source_kind(self) -> SourceKind:
        """The kind, as the domain calls it."""
        return SourceKind(getattr(self, "kind"))  # noqa: B009 - each kind of settings declares its own literal

    @property
    def future_tolerance(self) -> timedelta:
        """``future_seconds`` as a span of time."""
        return timedelta(seconds=self.future_seconds)

    def default_name(self) -> str:
        """What it is called where ``name`` is empty."""
        return str(getattr(self, "kind"))  # noqa: B009 - as above


class ExchangeSettings(_Source):
    """An exchange of ccxt: trades and books by websocket, candles and past trades by REST."""

    kind: Literal["exchange"] = "exchange"
    """Always ``exchange``."""
    exchange: str = Field(pattern=r"^[a-z0-9]+$")
    """Its id in ccxt: any of ccxt.pro that has spot markets and live trades. What is special about Binance, MEXC,
    Bybit, OKX, Coinbase and Kraken is known."""
    base_url: str = Field(default="", pattern=r"^(https?://[^/]+)?/?$")
    """Where it is, REST and websocket alike; empty for its own addresses."""
    symbols: tuple[str, ...] = ()
    """The markets to follow, such as ``BTC-USDT``; empty for all spot markets of an exchange that has at most 50."""
    book_depth: int = Field(default=0, ge=0, le=1000)
    """How many price levels of each side of the order books are followed when a symbol is first seen; 0 for none."""

    @field_validator("symbols")
    @classmethod
    def _are_pairs(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return pairs(symbols)

    def default_name(self) -> str:
        return self.exchange


class EquitySettings(_Source):
    """Shares and funds by Yahoo's interface: candles that are polled, and no trades."""

    kind: Literal["equity"] = "equity"
    """Always ``equity``."""
    base_url: str = Field(default="", pattern=_URL)
    """Where the service is; empty for Yahoo itself."""
    symbols: tuple[str, ...] = Field(min_length=1)
    """The tickers to follow, such as ``AAPL``; a symbol's id becomes ``AAPL-USD@<name>``."""
    price_digits: int = Field(default=4, ge=0, le=8)
    """Prices come as binary fractions, and are rounded to this many digits after the point."""
    poll_seconds: float = Field(default=60.0, gt=0)
    """How long the time of the service is believed before it is asked again; candles are polled as time goes on."""
    intervals: tuple[Literal["1m", "5m", "15m", "1d"], ...] = ("1m", "5m", "1d")
    """The candles that are taken from it; its hours begin when the exchange opens, so that hours are rolled up."""

    @field_validator("symbols")
    @classmethod
    def _are_tickers(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in symbols:
            if not _TICKER.fullmatch(symbol):
                raise ValueError(f"{symbol!r} is no ticker; write it like AAPL or BRK-B")
        return symbols

    def default_name(self) -> str:
        return "yahoo"


class EcbSettings(_Source):
    """The daily reference rates of the European Central Bank, from 1999 on."""

    kind: Literal["ecb"] = "ecb"
    """Always ``ecb``."""
    base_url: str = Field(default="https://www.ecb.europa.eu/stats/eurofxref", pattern=_URL)
    """The folder that has ``eurofxref-daily.xml``, ``eurofxref-hist-90d.xml`` and ``eurofxref-hist.zip``."""
    poll_seconds: float = Field(default=3600.0, gt=0)
    """How often new rates are looked for."""


class RatesSettings(_Source):
    """An exchange-rate service."""

    kind: Literal["rates"] = "rates"
    """Always ``rates``."""
    style: Literal["er_api", "frankfurter"] = "er_api"
    """The interface that it speaks: that of open.er-api.com (newest rates), or of frankfurter.dev (history too)."""
    base_url: str = Field(default="", pattern=_URL)
    """Where it is, up to and without ``/latest``; empty for ``https://open.er-api.com/v6`` or
    ``https://api.frankfurter.dev/v1``, by its style."""
    base: str = Field(default="USD", pattern=_CURRENCY)
    """The currency whose rates are asked for."""
    poll_seconds: float = Field(default=3600.0, gt=0)
    """How often new rates are looked for."""

    def default_name(self) -> str:
        return self.style


class FileSettings(_Source):
    """Parquet and CSV files of trades, candles and books, replayed in their own time."""

    kind: Literal["file"] = "file"
    """Always ``file``."""
    path: Path
    """A file, or a folder whose files (and those of its folders) are all taken. A name begins with the market:
    ``<exchange>_<BASE>-<QUOTE>_<interval>`` for candles, ``…_trades`` and ``…_depth`` for trades and order books."""
    exchange: str = Field(default="", pattern=r"^[a-z0-9]*$")
    """Only the files of this exchange; empty for all, which then must be of one."""
    symbols: tuple[str, ...] = ()
    """Only these markets, such as ``BTC-USDT``; empty for all."""
    speed: float = Field(default=0.0, ge=0)
    """How many times faster than real time they are replayed; 0 for as fast as they are taken in."""
    asset_type: AssetType = AssetType.CRYPTO
    """What is traded there."""
    book_depth: int = Field(default=0, ge=0, le=1000)
    """How many price levels of each side of the order books are followed; 0 for none."""

    @field_validator("symbols")
    @classmethod
    def _are_pairs(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return pairs(symbols)


class IngestSymbol(BaseModel):
    """A market whose trades producers send."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    symbol: str = Field(pattern=rf"^{_PAIR.pattern}$")
    """Base and quote, such as ``BTC-USDT``."""
    price_step: Decimal = Field(default=Decimal("0.00000001"), gt=0)
    """The smallest difference between two prices."""
    quantity_step: Decimal = Field(default=Decimal("0.00000001"), gt=0)
    """The smallest difference between two quantities."""
    min_notional: Decimal = Field(default=Decimal(0), ge=0)
    """The smallest price times quantity of an order."""


class IngestSettings(_Source):
    """Markets whose trades come by IngestTrades."""

    kind: Literal["ingest"] = "ingest"
    """Always ``ingest``."""
    symbols: tuple[IngestSymbol, ...] = ()
    """The markets that there are from the start; others are created by CreateSymbol."""
    asset_type: AssetType = AssetType.CRYPTO
    """What is traded there."""


SourceSettings = Annotated[
    ExchangeSettings | EquitySettings | EcbSettings | RatesSettings | FileSettings | IngestSettings,
    Field(discriminator="kind"),
]
"""The settings of one source; ``kind`` tells which they are."""

_SOURCES: TypeAdapter[tuple[SourceSettings, ...]] = TypeAdapter(tuple[SourceSettings, ...])


def pairs(symbols: tuple[str, ...]) -> tuple[str, ...]:
    """``symbols``; raises ValueError when one is none."""
    for symbol in symbols:
        if not _PAIR.fullmatch(symbol):
            raise ValueError(f"{symbol!r} is no symbol; write base and quote like BTC-USDT")
    return symbols


def sources_from(described: object, where: str = "MARKETDATA_SOURCES") -> tuple[SourceSettings, ...]:
    """The sources that a list of mappings describes, each with its name. Raises ValueError that says where."""
    try:
        sources = _SOURCES.validate_python(described)
    except ValidationError as error:
        problems = "; ".join(f"source {_place(each['loc'])}: {each['msg']}" for each in error.errors(include_url=False))
        raise ValueError(f"{where}: {problems}") from error
    named = tuple(each if each.name else each.model_copy(update={"name": each.default_name()}) for each in sources)
    names = [each.name for each in named]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{where}: several sources are called {', '.join(twice)}; give each another `name`")
    return named


def sources_from_json(text: str) -> tuple[SourceSettings, ...]:
    """The sources that the JSON list ``text`` describes. Raises ValueError."""
    try:
        described = json.loads(text, parse_float=str)
    except json.JSONDecodeError as error:
        raise ValueError(
            f'MARKETDATA_SOURCES is no JSON ({error}); write a list like [{{"kind": "exchange", "exchange": "okx"}}]'
        ) from error
    return sources_from(described)


def sources_from_file(path: Path) -> tuple[SourceSettings, ...]:
    """The sources that a YAML or JSON file lists. Raises ValueError."""
    where = f"MARKETDATA_SOURCES_FILE {path}"
    try:
        described = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    return sources_from(described, where)


def _place(location: tuple[int | str, ...]) -> str:
    """``location`` in words: the number of the source from 1, and its field."""
    if not location or not isinstance(location[0], int):
        return "list"
    field = ".".join(str(part) for part in location[2:])
    return f"{location[0] + 1}" + (f", {field}" if field else "")
