"""The process of auth."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

from services.auth.bootstrap import open_auth
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
        runtime = await stack.enter_async_context(open_runtime("auth", settings, audit))
        auth = await stack.enter_async_context(open_auth(settings, engine, audit))
        runtime.check_tokens_by(auth.keys, auth.revoked)
        for name, work in auth.background.items():
            runtime.spawn(name, work)
        runtime.spawn("audit relay", partial(audit.relay, auth.auditing.append_own))
        runtime.spawn("database health", partial(watch, runtime.health.part("database"), partial(ping, engine), 1.0))
        redis = runtime.health.part("redis", gates=False)
        runtime.spawn("redis health", partial(watch, redis, auth.edge.ping_redis, 1.0))
        await runtime.serve(auth.servicers)


if __name__ == "__main__":
    asyncio.run(main())
