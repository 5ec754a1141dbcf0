"""Calls counted in Redis by the library limits: a moving window, which is exact at every moment."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from pydantic import SecretStr
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from services.auth.domain.limits import Allowance, Balance, Counted
from services.auth.errors import CountingUnavailable
from services.runtime.redis import connect_to

_CONNECTIONS = 32
_PATIENCE = 0.3
"""Seconds. The gateway waits a little longer, so that it hears what the contract wants in an outage."""


class RedisCallCounter:
    """Counts in Redis, which may be away: a call waits for it for a moment only."""

    def __init__(self, redis: Redis, limiter: MovingWindowRateLimiter, patience: float = _PATIENCE) -> None:
        """``patience``: how many seconds an answer may take."""
        self._redis = redis
        self._limiter = limiter
        self._patience = patience

    async def take(self, counted: Counted, allowance: Allowance) -> tuple[bool, Balance]:
        with _outages():
            async with asyncio.timeout(self._patience):
                allowed = await self._limiter.hit(_window(allowance), *_names(counted))
                return allowed, await self._balance(counted, allowance)

    async def look(self, counted: Counted, allowance: Allowance) -> Balance:
        with _outages():
            async with asyncio.timeout(self._patience):
                return await self._balance(counted, allowance)

    async def ping(self) -> None:
        """Raise unless Redis answers."""
        with _outages():
            async with asyncio.timeout(self._patience):
                await self._redis.ping()

    async def _balance(self, counted: Counted, allowance: Allowance) -> Balance:
        stats = await self._limiter.get_window_stats(_window(allowance), *_names(counted))
        return Balance(max(0, stats.remaining), max(0.0, stats.reset_time - time.time()))


@asynccontextmanager
async def open_call_counter(url: SecretStr, *, patience: float = _PATIENCE) -> AsyncIterator[RedisCallCounter]:
    """A counter on the Redis at ``url``; nothing is connected before the first use."""
    # Without socket_timeout: see docs/decisions/0004-cancellation-and-redis.md.
    pool = BlockingConnectionPool.from_url(
        **connect_to(url),
        max_connections=_CONNECTIONS,
        timeout=None,
        socket_timeout=None,
        socket_connect_timeout=2,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 1),
    )
    options: Any = {"connection_pool": pool}  # an option that the library's types leave out
    storage = RedisStorage("async+redis://", implementation="redispy", key_prefix="calls", **options)
    try:
        yield RedisCallCounter(Redis(connection_pool=pool), MovingWindowRateLimiter(storage), patience)
    finally:
        await pool.aclose()


def _window(allowance: Allowance) -> RateLimitItemPerSecond:
    return RateLimitItemPerSecond(allowance.calls, allowance.seconds)


def _names(counted: Counted) -> tuple[str, str, str]:
    return counted.method, counted.subject, counted.network


@contextmanager
def _outages() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise CountingUnavailable from error
