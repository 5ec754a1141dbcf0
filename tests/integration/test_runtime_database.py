"""Connections to PostgreSQL that break while nobody uses them."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.runtime import database
from services.runtime.database import open_database, ping
from services.stack.postgres import Cluster


async def _pid(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def _driver(engine: AsyncEngine) -> asyncpg.Connection:
    async with engine.connect() as connection:
        driver: asyncpg.Connection = (await connection.get_raw_connection()).driver_connection
        return driver


async def _end(postgres: Cluster, pid: int) -> None:
    administrator = await postgres.connect()
    try:
        assert await administrator.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    finally:
        await administrator.close()


async def test_a_connection_that_the_server_has_closed_is_replaced_before_it_is_used(
    postgres: Cluster, database_url: Callable[[str], str]
) -> None:
    async with open_database(SecretStr(database_url("marketdata")), pool_size=1) as engine:
        before, driver = await _pid(engine), await _driver(engine)
        await _end(postgres, before)
        async with asyncio.timeout(5):
            while not driver.is_closed():  # noqa: ASYNC110 - the driver sets no event here
                await asyncio.sleep(0)
        assert await _pid(engine) != before


async def test_a_connection_that_died_in_silence_is_replaced_after_it_was_idle(
    database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_TRUSTED_SECONDS", 0.0)

    async def is_reset(*_: Any, **__: Any) -> None:
        raise ConnectionResetError

    async with open_database(SecretStr(database_url("marketdata")), pool_size=1) as engine:
        before, driver = await _pid(engine), await _driver(engine)
        monkeypatch.setattr(type(driver), "fetchrow", is_reset)
        assert await _pid(engine) != before


async def test_a_connection_is_kept_while_it_works(database_url: Callable[[str], str]) -> None:
    async with open_database(SecretStr(database_url("marketdata")), pool_size=1) as engine:
        before = await _pid(engine)
        await ping(engine)
        assert await _pid(engine) == before
