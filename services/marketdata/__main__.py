"""The process of marketdata."""

import asyncio
from contextlib import AsyncExitStack

from levimesh.marketdata.v1 import book_service_pb2, marketdata_service_pb2
from services.marketdata.adapters.ccxt_source import open_ccxt_source
from services.marketdata.bootstrap import build
from services.marketdata.quality import open_quarantine
from services.marketdata.settings import MarketDataSettings
from services.runtime.audit_outbox import open_audit_log
from services.runtime.database import open_database
from services.runtime.journal import open_journal
from services.runtime.service import open_runtime

_MARKETDATA = marketdata_service_pb2.DESCRIPTOR.services_by_name["MarketDataService"]
_BOOKS = book_service_pb2.DESCRIPTOR.services_by_name["OrderBookService"]


async def main() -> None:
    """Serve until told to stop."""
    settings = MarketDataSettings()
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_database(settings.database_url))
        audit = await stack.enter_async_context(open_audit_log(settings.database_url, "marketdata"))
        quarantine = open_quarantine(engine)
        journal = await stack.enter_async_context(open_journal(settings.redis_url))
        source = await stack.enter_async_context(
            open_ccxt_source(settings.first_source(), quarantine, settings.retention())
        )
        runtime = await stack.enter_async_context(open_runtime("marketdata", settings, audit))
        await runtime.fetch_keys()
        await runtime.relay_audit()
        marketdata = build(settings, engine, journal, source, runtime.health)
        for name, work in marketdata.work.items():
            runtime.spawn(name, work)
        runtime.spawn("quarantine", quarantine.run)
        runtime.spawn("quarantine retention", quarantine.drop_expired)
        await runtime.serve({_MARKETDATA: marketdata.servicer, _BOOKS: marketdata.books})


if __name__ == "__main__":
    asyncio.run(main())
