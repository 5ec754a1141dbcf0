"""The worker of auth at the edge: a process that serves only what the gateway asks while a call waits.

A storm of logins keeps the process of auth busy, and an order whose limit is counted there would wait in its queue.
"""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

from services.auth.bootstrap import open_edge_worker
from services.auth.settings import AuthSettings
from services.runtime.audit_outbox import open_audit_log
from services.runtime.database import open_database, ping
from services.runtime.health import watch
from services.runtime.service import open_runtime


async def main() -> None:
    """Serve until told to stop."""
    settings = AuthSettings()
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_database(settings.database_url))
        audit = await stack.enter_async_context(open_audit_log(settings.database_url, "auth"))
        runtime = await stack.enter_async_context(open_runtime("auth-edge", settings, audit))
        worker = await stack.enter_async_context(open_edge_worker(settings, engine, audit))
        for name, work in worker.background.items():
            runtime.spawn(name, work)
        runtime.spawn("database health", partial(watch, runtime.health.part("database"), partial(ping, engine), 1.0))
        redis = runtime.health.part("redis", gates=False)
        runtime.spawn("redis health", partial(watch, redis, worker.ping_redis, 1.0))
        await runtime.serve(worker.servicers)


if __name__ == "__main__":
    asyncio.run(main())
