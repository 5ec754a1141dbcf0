"""marketdata as the process that the stack runs."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from services.stack.ports import find_free
from tests.marketdata import World
from tests.mesh import files_of


@asynccontextmanager
async def marketdata_process(world: World, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of marketdata in ``world``, which nobody can call: no auth service runs."""
    files = files_of(world.certificates, "marketdata")
    (port,) = find_free(1, first=12_000 + secrets.randbelow(18_000))
    values = world.settings(**settings)
    environment = {
        "MARKETDATA_PORT": str(port),
        "MARKETDATA_DATABASE_URL": world.database_url,
        "MARKETDATA_REDIS_URL": world.redis_url,
        "MARKETDATA_TLS_CERTIFICATE": str(files.certificate),
        "MARKETDATA_TLS_PRIVATE_KEY": str(files.private_key),
        "MARKETDATA_TLS_TRUST_BUNDLE": str(files.trust_bundle),
        "MARKETDATA_AUTH_TARGET": "127.0.0.1:1",
        "MARKETDATA_BASE_URL": values.base_url,
        "MARKETDATA_SYMBOLS": ",".join(values.symbols),
        "MARKETDATA_HISTORY_1M_DAYS": str(values.history_1m_days),
        "MARKETDATA_HISTORY_5M_DAYS": str(values.history_5m_days),
        "MARKETDATA_SETTLE_SECONDS": str(values.settle_seconds),
        "MARKETDATA_REPLICA": values.replica,
        "PYTHONPATH": ":".join(filter(None, sys.path)),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.marketdata"),
        env={**os.environ, **environment},
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
