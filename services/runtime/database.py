"""PostgreSQL through SQLAlchemy and asyncpg."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from pydantic import SecretStr
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_log = logging.getLogger(__name__)

_TRIES = 20
_RETRY_SECONDS = 0.1


@asynccontextmanager
async def open_database(url: SecretStr, *, pool_size: int = 10) -> AsyncIterator[AsyncEngine]:
    """A pool of connections to the database at ``url``; nothing is connected before the first use.

    A connection that was broken by a restart of the server is noticed before it is given out. A cancelled statement
    invalidates its connection (asyncpg closes it), so the next user never reads somebody else's answer. Each new
    connection takes what ``url`` says then, so its password may be another one.
    """
    engine = create_async_engine(
        _without_password(url),
        async_creator=lambda: _connect(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        hide_parameters=True,
    )
    try:
        yield engine
    finally:
        await engine.dispose()


async def ping(engine: AsyncEngine) -> None:
    """Raise unless the database answers."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))


async def _connect(url: SecretStr) -> Any:
    """Connect; a password that is refused may be one of two that are just being changed, here and in the server."""
    for attempt in range(_TRIES):
        try:
            return await asyncpg.connect(**_arguments(url))
        except asyncpg.InvalidPasswordError:
            if attempt == 0:
                _log.warning("the database refuses the password; perhaps it is just being changed")
        await asyncio.sleep(_RETRY_SECONDS)
    return await asyncpg.connect(**_arguments(url))


def _arguments(url: SecretStr) -> dict[str, Any]:
    parsed = make_url(url.get_secret_value())
    told = parsed.get_dialect()().create_connect_args(parsed)[1]
    return {**told, "timeout": 5, "command_timeout": 30, "server_settings": {"timezone": "UTC"}}


def _without_password(url: SecretStr) -> Any:
    """So that nothing that the engine shows of itself holds one."""
    return make_url(url.get_secret_value()).set(password=None)
