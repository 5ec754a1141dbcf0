"""PostgreSQL through SQLAlchemy and asyncpg."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


@asynccontextmanager
async def open_database(url: SecretStr, *, pool_size: int = 10) -> AsyncIterator[AsyncEngine]:
    """A pool of connections to the database at ``url``; nothing is connected before the first use.

    A connection that was broken by a restart of the server is noticed before it is given out. A cancelled statement
    invalidates its connection (asyncpg closes it), so the next user never reads somebody else's answer.
    """
    engine = create_async_engine(
        url.get_secret_value(),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"timeout": 5, "command_timeout": 30, "server_settings": {"timezone": "UTC"}},
    )
    try:
        yield engine
    finally:
        await engine.dispose()


async def ping(engine: AsyncEngine) -> None:
    """Raise unless the database answers."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
