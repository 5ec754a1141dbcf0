"""Opens the sources that the settings name."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from services.marketdata.adapters.ccxt_source import open_ccxt_source
from services.marketdata.domain.rules import Retention
from services.marketdata.ports.quarantine import Quarantine
from services.marketdata.ports.sources import RateSource, Source
from services.marketdata.source_settings import ExchangeSettings, SourceSettings


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
    settings: SourceSettings, quarantine: Quarantine, kept: Retention
) -> AsyncIterator[OpenSource | OpenRateSource]:
    """The source of ``settings``. Nothing is connected before its first use."""
    async with _opened(settings, quarantine, kept) as source:
        yield OpenSource(source, settings)


def _opened(settings: SourceSettings, quarantine: Quarantine, kept: Retention) -> AbstractAsyncContextManager[Source]:
    match settings:
        case ExchangeSettings():
            return open_ccxt_source(settings, quarantine, kept)
        case _:
            raise ValueError(f"source {settings.name}: there is no source of the kind {settings.kind}")
