"""PostgreSQL and Redis as the stack runs them."""

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.stack.postgres import Cluster
from services.stack.redis import RedisServer


async def test_a_service_owns_its_schema_and_sees_no_other(postgres: Cluster) -> None:
    await postgres.provide("owners", {"auth": "one", "trading": "two"})
    connection = await _connect(postgres, "trading", "two")

    try:
        await connection.execute("CREATE TABLE trading.orders (id int)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE TABLE auth.users (id int)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE TABLE public.anything (id int)")
    finally:
        await connection.close()


async def test_a_service_may_not_connect_to_a_database_of_others(postgres: Cluster) -> None:
    await postgres.provide("mine", {"auth": "one"})
    await postgres.provide("theirs", {"trading": "two"})

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(host="127.0.0.1", port=postgres.port, user="auth", password="one", database="theirs")


async def test_providing_again_keeps_the_data_and_takes_the_new_password(postgres: Cluster) -> None:
    await postgres.provide("owners_again", {"trading": "old"})
    connection = await _connect(postgres, "trading", "old", "owners_again")
    await connection.execute("CREATE TABLE trading.kept (id int)")
    await connection.close()

    await postgres.provide("owners_again", {"trading": "it's new"})

    connection = await _connect(postgres, "trading", "it's new", "owners_again")
    assert await connection.fetchval("SELECT count(*) FROM trading.kept") == 0
    await connection.close()


async def test_redis_refuses_a_stranger_and_keeps_every_write_in_a_file(redis_server: RedisServer) -> None:
    async with Redis(port=redis_server.port) as stranger:
        with pytest.raises(RedisError, match="authenticated"):
            await stranger.ping()
    async with Redis.from_url(redis_server.url) as client:
        settings = {**await client.config_get("append*"), **await client.config_get("maxmemory-policy")}

    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"


async def _connect(
    postgres: Cluster, role: str, password: str, database: str = "owners"
) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(host="127.0.0.1", port=postgres.port, user=role, password=password, database=database)
