"""Opens the sources that the settings name."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from services.marketdata.adapters.ccxt_source import open_ccxt_source
from services.marketdata.adapters.equity_source import open_equity_source
from services.marketdata.adapters.file_source import open_file_source
from services.marketdata.adapters.ingest_source import open_ingest_source
from services.marketdata.adapters.rate_sources import open_rate_source
from services.marketdata.domain.rules import Retention
from services.marketdata.ports.quarantine import Quarantine
from services.marketdata.ports.sources import RateSource, Source
from services.marketdata.ports.trade_history import TradeHistory
from services.marketdata.source_settings import (
    EcbSettings,
    EquitySettings,
    ExchangeSettings,
    FileSettings,
    IngestSettings,
    RatesSettings,
    SourceSettings,
)


@dataclass(frozen=True)
class OpenSource:
    """A source of market data and its settings."""

    source: Source
    settings: SourceSettings


@dataclass(frozen=True)
class OpenRateSource:
    """A source of reference rates and its settings."""

    source: RateSource
    poll_seconds: float


@asynccontextmanager
async def open_source(
    settings: SourceSettings, quarantine: Quarantine, kept: Retention, history: TradeHistory
) -> AsyncIterator[OpenSource | OpenRateSource]:
    """The source of ``settings``. Nothing is connected before its first use."""
    if isinstance(settings, EcbSettings | RatesSettings):
        async with open_rate_source(settings, quarantine) as rates:
            yield OpenRateSource(rates, settings.poll_seconds)
        return
    async with _opened(settings, quarantine, kept, history) as source:
        yield OpenSource(source, settings)


def _opened(
    settings: ExchangeSettings | EquitySettings | FileSettings | IngestSettings,
    quarantine: Quarantine,
    kept: Retention,
    history: TradeHistory,
) -> AbstractAsyncContextManager[Source]:
    match settings:
        case ExchangeSettings():
            return open_ccxt_source(settings, quarantine, kept)
        case EquitySettings():
            return open_equity_source(settings, quarantine, kept)
        case FileSettings():
            return open_file_source(settings, quarantine, kept)
        case IngestSettings():
            return open_ingest_source(settings, history)
