"""Leases in PostgreSQL, by whose clock they expire."""

from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.marketdata.ports.leases import Lease, LeaseLost

# A lease that is held is only looked at: taking it over locks its row, and so waits for those who write under it.
_ACQUIRE = """
INSERT INTO marketdata.leases AS held (source, holder, token, expires_at)
SELECT :source, :holder, 1, clock_timestamp() + :valid
WHERE NOT EXISTS (SELECT FROM marketdata.leases WHERE source = :source AND expires_at > clock_timestamp())
ON CONFLICT (source) DO UPDATE SET
    holder = excluded.holder, token = held.token + 1, expires_at = excluded.expires_at
WHERE held.expires_at <= clock_timestamp()
RETURNING token
"""

_RENEW = """
UPDATE marketdata.leases SET expires_at = clock_timestamp() + :valid WHERE source = :source AND token = :token
"""

_RELEASE = """
UPDATE marketdata.leases SET expires_at = '-infinity' WHERE source = :source AND token = :token
"""

# A writer that hangs while it holds the lease's row would keep others from taking over, so it is cut off.
_REQUIRE = """
SELECT set_config('idle_in_transaction_session_timeout', '5s', true), set_config('statement_timeout', '10s', true)
FROM (
    SELECT FROM marketdata.leases WHERE source = :source AND token = :token FOR KEY SHARE
) held
"""


class PostgresLeases:
    """Implements Leases."""

    def __init__(self, engine: AsyncEngine, valid_seconds: float = 6.0) -> None:
        self._engine = engine
        self.valid_seconds = valid_seconds

    async def acquire(self, source: str, holder: str) -> Lease | None:
        values = {"source": source, "holder": holder, "valid": timedelta(seconds=self.valid_seconds)}
        async with self._engine.begin() as connection:
            token = (await connection.execute(text(_ACQUIRE), values)).scalar_one_or_none()
        return None if token is None else Lease(source, holder, token)

    async def renew(self, lease: Lease) -> None:
        async with self._engine.begin() as connection:
            values = {**_key(lease), "valid": timedelta(seconds=self.valid_seconds)}
            if not (await connection.execute(text(_RENEW), values)).rowcount:
                raise LeaseLost(f"the lease of {lease.source} is another replica's")

    async def release(self, lease: Lease) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(text(_RELEASE), _key(lease))


async def require(connection: AsyncConnection, lease: Lease | None) -> None:
    """Raise LeaseLost unless ``lease`` is held, and let nobody take it over before the end of this transaction.

    Without a lease anybody may write.
    """
    if lease is not None and (await connection.execute(text(_REQUIRE), _key(lease))).first() is None:
        raise LeaseLost(f"the lease of {lease.source} is another replica's")


def _key(lease: Lease) -> dict[str, Any]:
    return {"source": lease.source, "token": lease.token}
