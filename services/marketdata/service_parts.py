"""Puts together what answers the calls of marketdata."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.descriptor import ServiceDescriptor
from sqlalchemy.ext.asyncio import AsyncEngine

from levimesh.marketdata.v1 import (
    book_service_pb2,
    ingest_service_pb2,
    marketdata_service_pb2,
    quality_service_pb2,
    symbol_service_pb2,
)
from services.marketdata.adapters.quality import PostgresQuality
from services.marketdata.adapters.quarantine import PostgresQuarantine
from services.marketdata.adapters.rates import PostgresRates
from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import AssetType, SourceKind
from services.marketdata.domain.rules import Retention
from services.marketdata.domain.series import Progress
from services.marketdata.domain.ticker import TickerBoard
from services.marketdata.feeding.quarantine_recorder import QuarantineRecorder
from services.marketdata.feeding.trade_writer import TradeWriter
from services.marketdata.keeping.repairs import RepairParts
from services.marketdata.ports.sources import Source, SourceUnavailable
from services.marketdata.ports.symbols import SymbolNews
from services.marketdata.servicers.books import OrderBookServicer
from services.marketdata.servicers.ingest import IngestServicer
from services.marketdata.servicers.marketdata import MarketDataServicer
from services.marketdata.servicers.quality import DataQualityServicer
from services.marketdata.servicers.quality_reports import QualityReports
from services.marketdata.servicers.queries import Queries
from services.marketdata.servicers.streams import Streams
from services.marketdata.servicers.symbols import SymbolServicer
from services.marketdata.source_settings import IngestSettings
from services.marketdata.stores import Stores
from services.marketdata.use_cases.candles import GetCandles, GetLocalDays
from services.marketdata.use_cases.indicators import GetIndicators
from services.marketdata.use_cases.ingest import IngestTrades
from services.marketdata.use_cases.prices import ConvertPrice, GetTicker, GetTickers
from services.marketdata.use_cases.quality_report import MeasureQuality
from services.marketdata.use_cases.quarantine import ListQuarantinedRows, ReplayQuarantinedRows
from services.marketdata.use_cases.sources import ListSources
from services.marketdata.use_cases.symbols import ChangeSymbol, CreateSymbol, DeleteSymbol
from services.marketdata.use_cases.trades import ListTrades
from services.runtime.clock import utc_now

_MARKETDATA = marketdata_service_pb2.DESCRIPTOR.services_by_name["MarketDataService"]
_SYMBOLS = symbol_service_pb2.DESCRIPTOR.services_by_name["SymbolService"]
_BOOKS = book_service_pb2.DESCRIPTOR.services_by_name["OrderBookService"]
_QUALITY = quality_service_pb2.DESCRIPTOR.services_by_name["DataQualityService"]
_INGEST = ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"]


@dataclass(frozen=True)
class Answering:
    """What the answers are made of."""

    engine: AsyncEngine
    stores: Stores
    catalog: Catalog
    board: TickerBoard
    news: SymbolNews
    writer: TradeWriter
    quarantine: QuarantineRecorder
    repairs: RepairParts
    sources: Mapping[str, Source]
    """The sources of market data."""
    kinds: Mapping[str, tuple[SourceKind, AssetType]]
    """What kind all sources are, and what is traded there."""
    ingested: Mapping[str, IngestSettings]
    """The sources whose trades producers send."""
    retention: Retention
    progress: Callable[[], list[Progress]]

    def services(
        self, get_indicators: GetIndicators, streams: Streams, books: OrderBookServicer
    ) -> dict[ServiceDescriptor, object]:
        """All services of the contract."""
        return {
            _MARKETDATA: MarketDataServicer(self._queries(), get_indicators, streams),
            _SYMBOLS: self._symbols(),
            _BOOKS: books,
            _QUALITY: self._quality(),
            _INGEST: IngestServicer(
                IngestTrades(self.catalog, self.ingested, self.writer, self.quarantine, self.retention, utc_now)
            ),
        }

    def _queries(self) -> Queries:
        return Queries(
            self.catalog,
            GetCandles(self.catalog, self.stores.candles),
            GetLocalDays(self.catalog, self.stores.candles),
            ListTrades(self.catalog, self.stores.history),
            GetTicker(self.catalog, self.board),
            GetTickers(self.catalog, self.board),
            ConvertPrice(PostgresRates(self.engine), utc_now),
            self.progress,
        )

    def _symbols(self) -> SymbolServicer:
        store, news = self.stores.symbols, self.news
        create, change = CreateSymbol(store, news, self.sources), ChangeSymbol(store, news)
        return SymbolServicer(self.catalog, create, change, DeleteSymbol(store, news))

    def _quality(self) -> DataQualityServicer:
        quarantine = PostgresQuarantine(self.engine)
        measure = MeasureQuality(self.catalog, PostgresQuality(self.engine, self.stores.gaps), utc_now)
        replay = ReplayQuarantinedRows(
            quarantine,
            self.catalog,
            self.writer,
            self.stores.candles,
            self.retention,
            self._source_now,
            utc_now,
        )
        return DataQualityServicer(
            ListSources(self.kinds, self.stores.states, self.catalog),
            ListQuarantinedRows(quarantine),
            replay,
            QualityReports(measure, utc_now),
            self.repairs.servicer(self.sources),
        )

    async def _source_now(self, name: str) -> datetime | None:
        source = self.sources.get(name)
        try:
            return None if source is None else await source.now()
        except SourceUnavailable:
            return None
