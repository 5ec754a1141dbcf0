"""The settings of marketdata."""

import os
import re
import secrets
import socket
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from services.marketdata.domain.market import Interval
from services.marketdata.domain.rules import Retention
from services.marketdata.feeding.book_keeper import BookTimes
from services.marketdata.source_settings import (
    ExchangeSettings,
    SourceSettings,
    sources_from_file,
    sources_from_json,
)
from services.runtime.settings import ServiceSettings


def _name_of_this_process() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


class MarketDataSettings(ServiceSettings):
    """Read from the environment, ``MARKETDATA_*``."""

    model_config = SettingsConfigDict(env_prefix="MARKETDATA_")

    port: int = Field(default=15052, ge=0, le=65535)
    """Port for gRPC; 0 takes a free one."""

    source: str = Field(default="simex", pattern=r"^[a-z0-9_]+$")
    """The source's name, which ends every symbol's id. Another market needs another name: candles of two markets under
    one name are refused."""
    exchange: str = "binance"
    """The exchange's id in ccxt; any of ccxt.pro with spot markets and live trades."""
    base_url: str = Field(default="http://127.0.0.1:15080", pattern=r"^(https?://[^/]+)?/?$")
    """Where the exchange is, REST and websocket alike; empty for the exchange's own addresses."""
    symbols: Annotated[tuple[str, ...], NoDecode] = ("BTC-USDT", "ETH-USDT")
    """The markets to follow, separated by commas; empty for all spot markets of a source that has at most 50."""

    sources: Annotated[tuple[SourceSettings, ...], NoDecode] = ()
    """More sources, as a JSON list: each has a ``kind`` and the settings of that kind, see ``source_settings.py``. If
    there are any, the source that the four settings above describe is there only if one of these is set."""
    sources_file: Path | None = None
    """The same as a YAML or JSON file; its sources come after those of ``sources``."""
    replica: str = Field(default_factory=_name_of_this_process)
    """What this replica is called; each has another name. By default its host, its process and a random part."""

    book_depth: int = Field(default=20, ge=0, le=1000)
    """How many price levels of each side of the order books are followed when a symbol is first seen; 0 for none."""

    settle_seconds: float = Field(default=1.0, gt=0)
    """How long after the source has told its time everything that happened before that has reached us."""
    silent_seconds: float = Field(default=60.0, gt=0)
    """How long the source may be silent before it is connected anew."""
    history_1m_days: int = Field(default=2, ge=1)
    """How many days of one-minute candles are fetched at the first start, as far as the source has them."""
    history_5m_days: int = Field(default=300, ge=1)
    """The same for five-minute candles."""
    trades_kept_days: int = Field(default=7, ge=1)
    """Trades are dropped by the day when they are older, by the source's clock."""
    candles_kept_days: int = Field(default=800, ge=1)
    """Candles are dropped by the month when they are older, by the source's clock."""
    candles_1s_kept_days: int = Field(default=2, ge=1)
    """The same for one-second candles, which are dropped as they expire."""
    candles_5s_kept_days: int = Field(default=7, ge=1)
    """The same for five-second candles."""
    candles_1m_kept_days: int = Field(default=90, ge=1)
    """The same for one-minute candles."""
    books_kept_days: int = Field(default=2, ge=1)
    """Order books and their changes are dropped by the day when they are older, by the source's clock."""
    book_pace_seconds: float = Field(default=0.2, gt=0, le=10)
    """The least time between two changes of one order book that are told; what happens meanwhile is one change."""
    book_snapshot_seconds: float = Field(default=10.0, gt=0, le=600)
    """After so long an order book is told as a whole again. One of which nothing was heard for three times as long is
    not available."""

    @field_validator("symbols", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("sources", mode="before")
    @classmethod
    def _read_sources(cls, value: object) -> object:
        return sources_from_json(value or "[]") if isinstance(value, str) else value

    @field_validator("symbols")
    @classmethod
    def _are_pairs(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in symbols:
            if not re.fullmatch(r"[A-Z0-9]+-[A-Z0-9]+", symbol):
                raise ValueError(f"{symbol!r} is no symbol; write base and quote like BTC-USDT")
        return symbols

    @model_validator(mode="after")
    def _history_is_kept(self) -> "MarketDataSettings":
        if self.candles_kept_days < self.history_5m_days:
            raise ValueError("candles_kept_days must not be less than history_5m_days")
        if self.candles_1m_kept_days < self.history_1m_days:
            raise ValueError("candles_1m_kept_days must not be less than history_1m_days")
        return self

    @model_validator(mode="after")
    def _sources_can_be_told_apart(self) -> "MarketDataSettings":
        names = [source.name for source in self.all_sources()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"several sources are called {', '.join(twice)}; give each another name")
        return self

    def all_sources(self) -> tuple[SourceSettings, ...]:
        """The sources that are followed, the first one first. Raises ValueError when their file cannot be read."""
        listed = self.sources + (() if self.sources_file is None else sources_from_file(self.sources_file))
        is_described = not listed or bool(self.model_fields_set & {"source", "exchange", "base_url", "symbols"})
        return (self.first_source(), *listed) if is_described else listed

    def first_source(self) -> ExchangeSettings:
        """The source that ``source``, ``exchange``, ``base_url`` and ``symbols`` describe."""
        return ExchangeSettings(
            name=self.source,
            exchange=self.exchange,
            base_url=self.base_url,
            symbols=self.symbols,
            book_depth=self.book_depth,
            settle_seconds=self.settle_seconds,
            silent_seconds=self.silent_seconds,
        )

    def book_times(self) -> BookTimes:
        """How often order books are told."""
        return BookTimes(self.book_pace_seconds, self.book_snapshot_seconds)

    def retention(self) -> Retention:
        """How long what sources tell is kept."""
        return Retention(timedelta(days=self.trades_kept_days), timedelta(days=self.candles_kept_days))

    def kept(self, interval: Interval) -> timedelta:
        """How long candles are kept."""
        days = {
            Interval.ONE_SECOND: self.candles_1s_kept_days,
            Interval.FIVE_SECONDS: self.candles_5s_kept_days,
            Interval.ONE_MINUTE: self.candles_1m_kept_days,
        }
        return timedelta(days=min(days.get(interval, self.candles_kept_days), self.candles_kept_days))

    def history_days(self, interval: Interval) -> int:
        """How many days of history are wanted."""
        return self.history_1m_days if interval is Interval.ONE_MINUTE else self.history_5m_days
