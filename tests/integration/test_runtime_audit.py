"""The audit log of a service: nothing is lost on the way to the chain, and nothing gets there twice."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from levimesh.auth.v1 import audit_pb2
from services.runtime.audit import Outcome, new_event
from services.runtime.audit_outbox import SqlAuditLog, open_audit_log
from services.runtime.database import open_database
from services.stack.postgres import Cluster


def an_event(action: str) -> audit_pb2.AuditEvent:
    return new_event(action, outcome=Outcome.DONE, subject={}, actor="ann", status="OK")


class Chain:
    """Takes events as auth does: each once."""

    def __init__(self) -> None:
        self.actions: list[str] = []
        self.known: set[str] = set()
        self.batches: list[int] = []
        self.acknowledges = True

    async def append(self, events: Sequence[audit_pb2.AuditEvent]) -> None:
        self.batches.append(len(events))
        for event in events:
            if event.event_id not in self.known:
                self.known.add(event.event_id)
                self.actions.append(event.action)
        if not self.acknowledges:
            raise ConnectionError("the answer was lost")


@pytest.fixture
def url(database_url: Callable[[str], str]) -> str:
    return database_url("trading")


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    async with open_database(SecretStr(url)) as engine:
        yield engine


@pytest.fixture
async def audit(url: str) -> AsyncIterator[SqlAuditLog]:
    async with open_audit_log(SecretStr(url), "trading") as log:
        yield log


async def waiting(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM trading.audit_outbox"))).scalar_one())


@asynccontextmanager
async def locked_out(postgres: Cluster, url: str) -> AsyncIterator[None]:
    """Nobody gets into the database."""
    name = url.rsplit("/", 1)[1]
    connection = await postgres.connect()
    await connection.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0')
    await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    try:
        yield
    finally:
        await connection.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')
        await connection.close()


async def test_what_is_recorded_reaches_the_chain_in_its_order_and_leaves_the_outbox(
    audit: SqlAuditLog, engine: AsyncEngine
) -> None:
    chain = Chain()
    stored = [audit.add(an_event(str(number))) for number in range(500)]
    assert all(await asyncio.gather(*stored))
    assert await waiting(engine) == 500

    while await audit.relay_batch(chain.append):
        pass

    assert chain.actions == [str(number) for number in range(500)]
    assert await waiting(engine) == 0


async def test_a_lost_acknowledgement_repeats_events_and_doubles_none(audit: SqlAuditLog, engine: AsyncEngine) -> None:
    chain = Chain()
    await audit.add(an_event("first"))
    chain.acknowledges = False
    with pytest.raises(ConnectionError):
        await audit.relay_batch(chain.append)
    assert await waiting(engine) == 1

    chain.acknowledges = True
    await audit.add(an_event("second"))
    await audit.relay_batch(chain.append)

    assert chain.batches == [1, 2]
    assert chain.actions == ["first", "second"]
    assert await waiting(engine) == 0


async def test_only_one_replica_relays_at_a_time(audit: SqlAuditLog, url: str) -> None:
    chain, reached, go_on = Chain(), asyncio.Event(), asyncio.Event()

    async def slowly(events: Sequence[audit_pb2.AuditEvent]) -> None:
        reached.set()
        await go_on.wait()
        await chain.append(events)

    await audit.add(an_event("only"))
    async with open_audit_log(SecretStr(url), "trading") as replica, asyncio.timeout(10):
        first = asyncio.ensure_future(audit.relay_batch(slowly))
        await reached.wait()

        assert await replica.relay_batch(chain.append) == 0

        go_on.set()
        assert await first == 1
    assert chain.batches == [1]


@pytest.mark.parametrize("commits", [True, False])
async def test_an_event_in_a_transaction_stands_or_falls_with_it(
    audit: SqlAuditLog, engine: AsyncEngine, commits: bool
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        await audit.record("refresh_token_reused", actor="ann", connection=connection)
        assert await waiting(engine) == 0
        await (transaction.commit() if commits else transaction.rollback())

    assert await waiting(engine) == int(commits)


async def test_what_cannot_be_stored_waits_and_is_stored_as_soon_as_somebody_asks(
    audit: SqlAuditLog, engine: AsyncEngine, postgres: Cluster, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await audit.ready()
    async with locked_out(postgres, url):
        assert await audit.add(an_event("1")) is False
        assert await audit.ready() is False
        assert await audit.add(an_event("2")) is False
        assert "audit events cannot be stored" in caplog.text

    assert await audit.ready() is True
    chain = Chain()
    await audit.relay_batch(chain.append)

    assert chain.actions == ["1", "2"]


async def test_a_restart_of_the_database_between_two_events_is_not_noticed(
    audit: SqlAuditLog, engine: AsyncEngine, postgres: Cluster, url: str
) -> None:
    assert await audit.add(an_event("before"))
    async with locked_out(postgres, url):
        pass

    assert await audit.add(an_event("after")) is True
    assert await waiting(engine) == 2


async def test_what_waits_is_stored_without_anybody_asking(engine: AsyncEngine, postgres: Cluster, url: str) -> None:
    log = SqlAuditLog(engine, "trading", retry_seconds=0.05)
    writer = asyncio.ensure_future(log.write())
    async with locked_out(postgres, url):
        assert await log.add(an_event("1")) is False

    async with asyncio.timeout(10):
        while not await waiting(engine):  # noqa: ASYNC110 - what is waited for is behind a network
            await asyncio.sleep(0.01)
    writer.cancel()


async def test_a_process_that_stops_stores_what_is_left(engine: AsyncEngine, url: str) -> None:
    async with open_audit_log(SecretStr(url), "trading") as log:
        log.add(an_event("last"))

    assert await waiting(engine) == 1


async def test_what_can_be_stored_nowhere_is_in_the_log_of_the_process(
    postgres: Cluster, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with locked_out(postgres, url), open_database(SecretStr(url)) as engine:
        log = SqlAuditLog(engine, "trading", keep=1)
        kept, beyond = log.add(an_event("kept")), log.add(an_event("beyond"))
        assert await beyond is False
        await log.flush()
        assert await kept is False

    said = [vars(record)["event"] for record in caplog.records]
    assert ["beyond" in said[0], "kept" in said[1]] == [True, True]


async def test_an_event_that_was_stored_although_nobody_said_so_is_stored_once(
    audit: SqlAuditLog, engine: AsyncEngine
) -> None:
    """A connection may break after the commit and before its answer."""
    event = an_event("once")

    assert await audit.add(event)
    assert await audit.add(event)

    assert await waiting(engine) == 1
