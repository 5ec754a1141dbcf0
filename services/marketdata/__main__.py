"""The process of marketdata."""

import asyncio
from contextlib import AsyncExitStack

from services.marketdata.adapters.leases import PostgresLeases
from services.marketdata.adapters.trade_history import PostgresTradeHistory
from services.marketdata.bootstrap import Connections, build
from services.marketdata.quarantine_parts import open_quarantine
from services.marketdata.settings import MarketDataSettings
from services.marketdata.sources import open_source
from services.runtime.audit_outbox import open_audit_log
from services.runtime.database import open_database
from services.runtime.journal import open_journal
from services.runtime.service import open_runtime

_LEASE_CONNECTIONS = 2


async def main() -> None:
    """Serve until told to stop."""
    settings = MarketDataSettings()
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_database(settings.database_url))
        own = await stack.enter_async_context(open_database(settings.database_url, pool_size=_LEASE_CONNECTIONS))
        audit = await stack.enter_async_context(open_audit_log(settings.database_url, "marketdata"))
        journal = await stack.enter_async_context(open_journal(settings.redis_url))
        quarantine = open_quarantine(engine)
        history = PostgresTradeHistory(engine)
        sources = [
            await stack.enter_async_context(open_source(source, quarantine, settings.retention(), history))
            for source in settings.all_sources()
        ]
        runtime = await stack.enter_async_context(open_runtime("marketdata", settings, audit))
        await runtime.fetch_keys()
        await runtime.relay_audit()
        connections = Connections(engine, PostgresLeases(own), journal)
        marketdata = build(settings, connections, sources, quarantine, runtime.health)
        for name, work in marketdata.work.items():
            runtime.spawn(name, work)
        await runtime.serve(dict(marketdata.services))


if __name__ == "__main__":
    asyncio.run(main())
