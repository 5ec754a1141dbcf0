"""PostgreSQL through SQLAlchemy and asyncpg."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from pydantic import SecretStr
from sqlalchemy import event, make_url, text
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

_log = logging.getLogger(__name__)

_TRIES = 20
_RETRY_SECONDS = 0.1
_TRUSTED_SECONDS = 5.0
"""A connection that was used so recently is not asked whether the server is still there."""
_USED_AT = "used at"


@asynccontextmanager
async def open_database(url: SecretStr, *, pool_size: int = 10) -> AsyncIterator[AsyncEngine]:
    """A pool of connections to the database at ``url``; nothing is connected before the first use.

    A connection that was broken by a restart of the server is noticed before it is given out: that it was closed shows
    at once, and one that was idle for a while is asked (that takes several round trips, so it is not done before each
    use). A cancelled statement invalidates its connection (asyncpg closes it), so the next user never reads somebody
    else's answer. Each new connection takes what ``url`` says then, so its password may be another one.
    """
    engine = create_async_engine(
        _without_password(url),
        async_creator=lambda: _connect(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "checkin", _remember_use)
    event.listen(engine.sync_engine, "checkout", _check_before_use)
    try:
        yield engine
    finally:
        await engine.dispose()


async def ping(engine: AsyncEngine) -> None:
    """Raise unless the database answers."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))


def _remember_use(_: Any, record: ConnectionPoolEntry) -> None:
    record.info[_USED_AT] = time.monotonic()


def _check_before_use(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
    """Raise DisconnectionError, so that the pool connects anew, when nobody is at the other end of ``connection``."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the connection was closed")
    used_at = record.info.get(_USED_AT)
    if used_at is None or time.monotonic() - used_at < _TRUSTED_SECONDS:
        return
    try:
        connection.ping()
    except Exception as error:
        raise DisconnectionError("the server does not answer on the connection") from error


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
