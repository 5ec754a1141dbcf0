"""Whatever is done to the audit chain in the database is found."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from services.auth.adapters.audit import SqlAuditChain
from services.auth.domain.audit import NO_HASH, AuditEvent, Outcome, link_hash
from services.runtime import timestamps
from services.runtime.clock import utc_now
from services.stack.postgres import Cluster
from tests.audit_chain import NOON, ServedChain, an_event, running_chain

LENGTH = 10


@pytest.fixture
async def chain(database_url: Callable[[str], str], certificates: Path, tmp_path: Path) -> AsyncIterator[ServedChain]:
    async with running_chain(database_url("auth"), certificates, tmp_path) as chain:
        yield chain


async def tamper(postgres: Cluster, url: str, *statements: str) -> None:
    """What the owner of the database can do: put the triggers aside, and change anything."""
    connection = await postgres.connect(url.rsplit("/", 1)[1])
    try:
        await connection.execute("ALTER TABLE auth.audit_events DISABLE TRIGGER ALL")
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


FLIPS = {
    "sequence": ("sequence = 99", "missing"),
    "event_id": ("event_id = gen_random_uuid()", "changed"),
    "event_time": ("event_time = event_time + interval '1 microsecond'", "changed"),
    "service": ("service = 'auth'", "changed"),
    "action": ("action = action || ' '", "changed"),
    "actor": ("actor = 'bob'", "changed"),
    "session_id": ("session_id = ''", "changed"),
    "address": ("address = '203.0.113.10'", "changed"),
    "outcome": ("outcome = 'nonsense'", "changed"),
    "status": ("status = 'INTERNAL'", "changed"),
    "subject": ("subject = subject - 'symbol'", "changed"),
    "trace_id": ("trace_id = ''", "changed"),
    "hash": ("hash = set_bit(hash, 0, 1 - get_bit(hash, 0))", "changed"),
}


@pytest.mark.parametrize("column", FLIPS)
async def test_a_flipped_value_is_found_in_its_row(chain: ServedChain, postgres: Cluster, column: str) -> None:
    await chain.append(*(an_event(number) for number in range(LENGTH)))
    change, problem = FLIPS[column]

    await tamper(postgres, chain.url, f"UPDATE auth.audit_events SET {change} WHERE sequence = 4")  # noqa: S608 - our own text

    found = await chain.verified()
    assert (found.intact, found.broken_at) == (False, 4)
    assert found.problem.startswith(problem)


@pytest.mark.parametrize(
    "change",
    [*(f"{column} = NULL" for column in FLIPS if column != "sequence"), "event_time = 'infinity'", "subject = '7'"],
)
async def test_a_value_that_cannot_be_is_found_in_its_row(chain: ServedChain, postgres: Cluster, change: str) -> None:
    await chain.append(*(an_event(number) for number in range(LENGTH)))
    column = change.split()[0]

    await tamper(
        postgres,
        chain.url,
        f"ALTER TABLE auth.audit_events ALTER COLUMN {column} DROP NOT NULL",
        f"UPDATE auth.audit_events SET {change} WHERE sequence = 4",  # noqa: S608 - our own text
    )

    found = await chain.verified()
    assert (found.intact, found.broken_at) == (False, 4)


async def test_every_column_is_among_those_that_are_flipped(chain: ServedChain) -> None:
    async with chain.engine.connect() as connection:
        columns = await connection.scalars(
            text("SELECT column_name FROM information_schema.columns WHERE table_name = 'audit_events'")
        )
        assert set(columns) == set(FLIPS)


SHIFT = "UPDATE auth.audit_events SET sequence = -sequence - 1 WHERE sequence >= 5"
SHIFT_BACK = "UPDATE auth.audit_events SET sequence = -sequence WHERE sequence < 0"
FORGED = """
INSERT INTO auth.audit_events
SELECT 5, gen_random_uuid(), event_time, service, action, 'mallory', session_id, address, outcome, status, subject,
       trace_id, sha256(hash)
FROM auth.audit_events WHERE sequence = 4
"""


@pytest.mark.parametrize(
    ("statements", "broken_at", "problem"),
    [
        pytest.param(["DELETE FROM auth.audit_events WHERE sequence = 4"], 4, "missing: event 4", id="middle deleted"),
        pytest.param(["DELETE FROM auth.audit_events WHERE sequence = 1"], 1, "missing: event 1", id="first deleted"),
        pytest.param(["DELETE FROM auth.audit_events WHERE sequence > 6"], 7, "truncated", id="end deleted"),
        pytest.param(["TRUNCATE auth.audit_events"], 1, "truncated", id="all deleted"),
        pytest.param(
            [
                "ALTER TABLE auth.audit_events DROP CONSTRAINT audit_events_pkey",
                "UPDATE auth.audit_events SET sequence = 13 - sequence WHERE sequence IN (4, 9)",
            ],
            4,
            "out of order: the event that belongs at 4 stands at 9",
            id="two swapped",
        ),
        pytest.param(
            ["ALTER TABLE auth.audit_events DROP CONSTRAINT counts_from_one", SHIFT, SHIFT_BACK, FORGED],
            5,
            "out of order: the event that belongs at 5 stands at 6",
            id="one forged",
        ),
    ],
)
async def test_what_is_done_to_rows_is_found(
    chain: ServedChain, postgres: Cluster, statements: Sequence[str], broken_at: int, problem: str
) -> None:
    await chain.append(*(an_event(number) for number in range(LENGTH)))
    await chain.anchor()

    await tamper(postgres, chain.url, *statements)

    found = await chain.verified()
    assert (found.intact, found.broken_at) == (False, broken_at)
    assert found.problem.startswith(problem)


async def test_an_end_that_was_written_anew_with_right_hashes_is_found_by_the_anchor(
    chain: ServedChain, postgres: Cluster
) -> None:
    await chain.append(*(an_event(number) for number in range(LENGTH)))
    await chain.anchor()

    await tamper(postgres, chain.url, "DELETE FROM auth.audit_events WHERE sequence > 6")
    await chain.append(*(an_event(number, actor="mallory") for number in range(LENGTH)))

    events = await chain.listed(page_size=1000)
    assert [event.sequence for event in reversed(events)] == list(range(1, 17)), "it looks like a good chain"
    found = await chain.verified()
    assert (found.intact, found.broken_at) == (False, LENGTH)
    assert found.problem.startswith("rewritten")


async def test_the_head_is_anchored_while_auth_runs_and_when_it_stops(chain: ServedChain) -> None:
    await chain.append(an_event())
    running = asyncio.ensure_future(chain.auditing.background["audit anchors"]())
    async with asyncio.timeout(10):
        while not lines(chain.anchor_file):  # noqa: ASYNC110 - what is waited for is a file
            await asyncio.sleep(0.01)
    await chain.append(an_event())

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert lines(chain.anchor_file) == 2
    found = await chain.verified()
    assert found.intact
    assert abs(timestamps.from_pb(found.anchor_time) - utc_now()) < timedelta(minutes=5)


def lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.exists() else 0


async def test_a_long_chain_is_checked_to_its_end(chain: ServedChain) -> None:
    """It is read in parts; none of them is left out."""
    events = [
        AuditEvent(str(uuid4()), NOON, "auth", "test", "", "", "", Outcome.DONE, "OK", {}, "") for _ in range(1_201)
    ]
    await SqlAuditChain(chain.engine).append(events)

    previous = NO_HASH
    for sequence, event in enumerate(events, 1):
        previous = link_hash(previous, sequence, event)
    found = await chain.verified()
    assert (found.intact, found.checked, found.head_hash) == (True, 1_201, previous.hex())
