"""How the sources are, in PostgreSQL."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.marketdata.adapters import leases
from services.marketdata.domain.source_status import SourceState, SourceStatus
from services.marketdata.ports.leases import Lease
from services.marketdata.ports.source_states import Led

_PUT = """
INSERT INTO marketdata.source_states
    (source, state, problem, last_message_time, latency, row_count, quarantined, reconnects, circuit_open,
     has_history, source_time)
VALUES
    (:source, :state, :problem, :last_message_time, :latency, :row_count, :quarantined, :reconnects, :circuit_open,
     :has_history, :source_time)
ON CONFLICT (source) DO UPDATE SET
    state = excluded.state, problem = excluded.problem, last_message_time = excluded.last_message_time,
    latency = excluded.latency, row_count = excluded.row_count, quarantined = excluded.quarantined,
    reconnects = excluded.reconnects, circuit_open = excluded.circuit_open, has_history = excluded.has_history,
    source_time = coalesce(excluded.source_time, source_states.source_time)
"""

_ALL = """
SELECT source, CASE WHEN expires_at > clock_timestamp() THEN holder ELSE '' END,
       state, problem, last_message_time, latency, row_count, quarantined, reconnects, circuit_open,
       has_history, source_time
FROM marketdata.leases LEFT JOIN marketdata.source_states USING (source)
"""


class PostgresSourceStates:
    """Implements SourceStates."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def put(self, status: SourceStatus, lease: Lease) -> None:
        values = {
            "source": lease.source,
            "state": status.state.value,
            "problem": status.problem,
            "last_message_time": status.last_message_time,
            "latency": status.latency,
            "row_count": status.rows,
            "quarantined": status.quarantined,
            "reconnects": status.reconnects,
            "circuit_open": status.circuit_open,
            "has_history": status.has_history,
            "source_time": status.source_time,
        }
        async with self._engine.begin() as connection:
            await leases.require(connection, lease)
            await connection.execute(text(_PUT), values)

    async def all(self) -> dict[str, Led]:
        async with self._engine.connect() as connection:
            rows = await connection.execute(text(_ALL))
            return {
                source: Led(leader, None if state is None else SourceStatus(SourceState(state), *status))
                for source, leader, state, *status in rows
            }
